/*
 * views.js - what the page shows: accounts, an account, superseded keys in use. Each view loads its facts anew, then draws them.
 */
import { call, list, listEvents } from "./calls.js";
import { create, keyName, masked, resume, revoke, roll, suspend } from "./changes.js";
import { countdown, h, replace, say, when } from "./dom.js";

const SHOWN = 100;  /* accounts at once */
const PAGES = 20;   /* of 1,000, that one search looks at */
const MINUTE_MS = 60000;

export const link = (environment, account) => `#/${environment}/account/${encodeURIComponent(account)}`;

const badge = (text, kind) => h("span", { class: `badge ${kind}` }, text);
const STATES = { current: ["Active", "good"], grace: ["Superseded", "warn"], expired: ["Expired", "off"], revoked: ["Revoked", "off"] };
const state = (key) => badge(...(STATES[key.state] ?? [key.state, "off"]));

function table(caption, heads, rows) {
	return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, h("table", {}, h("caption", { class: "unseen" }, caption),
		h("thead", {}, h("tr", {}, ...heads.map((t) => t === "" ? h("td") : h("th", { scope: "col" }, t)))),
		h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((c, i) =>
			h(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, "data-label": heads[i] }, c)))))));
}

/* ---- accounts ---- */

const matches = (text) => (a) => a.account.toLowerCase().includes(text.toLowerCase());

/* ---- positions ---- */

const LETTERS = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";  /* of an id, in the list's order */

/* A page token of the accounts' list is the id after which the page begins. This one is just before ${text}. */
function before(text) {
	const last = LETTERS.indexOf(text.at(-1));
	const id = last === 0 ? text.slice(0, -1) : (text.slice(0, -1) + LETTERS[last - 1]).padEnd(64, "z");
	return btoa(id).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const accountPage = (environment, page_size, next) => list("/v1/accounts/list", "accounts", { environment, page_size }, 1, next);

/* The account ${id}; undefined: there is none. */
async function accountOf(environment, id) {
	const { items } = await accountPage(environment, 1, before(id));
	return items.find((a) => a.account === id);
}

/* Accounts that begin with ${text}, up to SHOWN of them, wherever they are in the list. */
async function beginning(environment, text) {
	if (!/^[A-Za-z0-9._-]{1,64}$/.test(text))
		return [];
	const { items } = await accountPage(environment, SHOWN, before(text));
	return items.filter((a) => a.account.startsWith(text));
}

/* Accounts whose id has ${text} in it, those that begin with it first, until there are enough of them or PAGES were read. */
async function search(environment, text, next = "") {
	const found = text !== "" && next === "" ? await beginning(environment, text) : [];
	const known = new Set(found.map((a) => a.account));
	let pages = PAGES;
	do {
		const page = await accountPage(environment, text === "" ? SHOWN : 1000, next);
		found.push(...page.items.filter((a) => matches(text)(a) && !known.has(a.account)));
		next = page.next;
	} while (next !== "" && found.length < SHOWN && --pages > 0);
	return { found, next };
}

function accountRows(environment, found) {
	return found.map((a) => [h("a", { href: link(environment, a.account) }, a.account),
		a.suspended ? badge("Suspended", "warn") : badge("Active", "good"), when(a.created_ms), String(a.keys_in_grace)]);
}

let searched = "";

export async function accounts({ environment }, fresh) {
	const result = await search(environment, searched);
	const box = h("div", { id: "found" });
	let { found, next } = result;
	const draw = () => replace(box, found.length === 0 ? h("p", { class: "empty" }, searched === "" ? `There is no ${environment} account yet.`
		: next === "" ? `No ${environment} account has “${searched}” in its name.` : "None found so far.")
		: table("Accounts", ["Account", "State", "Created", "Keys in grace"], accountRows(environment, found)),
	next !== "" && h("button", { type: "button", id: "more", click: () => fresh(more) }, "Look further"));
	const more = async () => {
		const page = await search(environment, searched, next);
		found = [...found, ...page.found];
		next = page.next;
		draw();
		say(`${found.length}${next === "" ? "" : " or more"} accounts`);
	};
	const again = async () => {
		const text = input.value.trim();
		searched = text;
		const page = await search(environment, text);
		if (searched !== text || !box.isConnected)
			return;
		({ found, next } = page);
		draw();
		say(`${found.length}${next === "" ? "" : " or more"} accounts`);
	};
	let timer = 0;
	const input = h("input", { type: "search", id: "search", value: searched, autocomplete: "off", spellcheck: "false",
		input: () => { clearTimeout(timer); timer = setTimeout(() => fresh(again), 200); } });
	const submit = (event) => {
		event.preventDefault();
		if (input.value.trim() !== "")
			location.hash = link(environment, input.value.trim());
	};
	draw();
	return [h("div", { class: "top" }, h("h1", {}, "Accounts"), h("button", { type: "button", class: "main", id: "create",
		click: () => create("", (account, e) => { location.hash = link(e, account); }) }, "Create account")),
	h("form", { class: "search", role: "search", submit }, h("label", { for: "search" }, "Search or open an account"),
		h("div", { class: "row" }, input, h("button", { type: "submit", id: "open" }, "Open"))), box];
}

/* ---- an account ---- */

const newestOf = (keys, kind) => keys.filter((k) => k.kind === kind).reduce((a, b) => a && a.generation > b.generation ? a : b, undefined);

function facts(pairs) {
	return h("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function revokeButton(key, label = "Revoke") {
	return h("button", { type: "button", class: "quiet danger", id: `revoke-${key.kind}-${key.generation}`,
		"aria-label": `Revoke the ${keyName(key)}, generation ${key.generation}`, click: () => revoke(key) }, label);
}

function olderKeys(keys) {
	if (keys.length === 0)
		return null;
	const name = (k) => h("span", {}, h("code", {}, masked(k)), h("span", { class: "help under" }, `generation ${k.generation}`));
	const working = keys.filter((k) => k.state === "grace"), gone = keys.filter((k) => k.state !== "grace");
	return [working.length > 0 && h("h3", {}, "Old keys that still work"),
		working.length > 0 && table("Old keys that still work", ["Key", "Last used", "Ends", ""],
			working.map((k) => [name(k), when(k.last_used_ms), h("span", {}, "in ", countdown(k.expires_ms)), revokeButton(k)])),
		gone.length > 0 && h("details", { id: `ended-${gone[0].kind}` }, h("summary", {}, `${gone.length} that ended`),
			table("Keys that ended", ["Key", "Last used", "State", "Ended"],
				gone.map((k) => [name(k), when(k.last_used_ms), state(k), when(k.ended_ms, "")])))];
}

function slot(account, environment, kind, keys) {
	const newest = newestOf(keys, kind);
	const old = keys.filter((k) => k.kind === kind && k !== newest).reverse();
	const buttons = h("p", { class: "buttons" }, newest?.state === "current" && revokeButton(newest, "Revoke"),
		kind === "secret" && h("button", { type: "button", class: "main", id: "roll", click: () => roll(account, environment, newest) }, "Roll key"));
	return h("section", { class: "slot", id: `slot-${kind}`, "aria-labelledby": `slot-${kind}-title` },
		h("h2", { id: `slot-${kind}-title` }, kind === "secret" ? "Secret key" : "Publishable key"),
		newest ? [h("p", { class: "masked" }, h("code", {}, masked(newest)), " ", state(newest)),
			facts([["Generation", String(newest.generation)], ["Created", when(newest.created_ms)], ["Last used", when(newest.last_used_ms)]])]
			: h("p", { class: "empty" }, "There is none."),
		buttons, olderKeys(old));
}

const EVENTS = { account_created: "Account created", key_rolled: "Key rolled", key_expired: "Old key expired", key_revoked: "Key revoked",
	account_suspended: "Suspended", account_resumed: "Resumed", account_imported: "Imported", restored: "Database restored" };

function who(origin) {
	if (origin === null)
		return "Fob itself";
	const peer = origin.uid !== null ? `user ${origin.uid} on fobd's machine` : origin.certificate ?? origin.address;
	return origin.on_behalf_of !== null ? `${origin.on_behalf_of}, through ${peer}` : peer;
}

function eventRow(e) {
	const key = e.last4 === null ? "" : `${e.kind} …${e.last4}, generation ${e.generation}`;
	const until = e.type === "key_rolled" && e.expires_ms ? h("span", {}, "; old one until ", when(e.expires_ms)) : "";
	return [when(e.time_ms), EVENTS[e.type] ?? e.type, h("span", {}, key, until), who(e.origin)];
}

/* Read on from where the last look ended: an account that is looked at again costs its new events only. */
const seen = { of: "", items: [], next: "", more: false };

async function eventsOf(environment, account) {
	const of = `${environment} ${account}`;
	const from = seen.of === of ? seen : { items: [], next: "" };
	const page = await listEvents({ environment, account }, PAGES, from.next);
	Object.assign(seen, page, { of, items: [...from.items, ...page.items] });
	return seen;
}

function eventsSection({ items, more }, fresh, again) {
	const shown = items.slice(-SHOWN).reverse();
	return h("section", { id: "events", "aria-labelledby": "events-title" }, h("h2", { id: "events-title" }, "Events"),
		shown.length === 0 ? h("p", { class: "empty" }, "None that fobd still keeps.")
			: table("Events, newest first", ["When", "What", "Key", "Who"], shown.map(eventRow)),
		items.length > SHOWN && h("p", { class: "help" }, `The newest ${SHOWN} of ${items.length}.`),
		more && h("button", { type: "button", id: "more-events", click: () => fresh(again) }, "Newer events follow: read on"));
}

export async function account({ environment, account: id }, fresh, reload) {
	const [keys, events, itself] = await Promise.all([list("/v1/keys/list", "keys", { environment, account: id }, 10),
		eventsOf(environment, id), accountOf(environment, id)]);
	const suspended = itself?.suspended;
	const toggle = suspended ? h("button", { type: "button", id: "suspend", click: () => resume(id, environment) }, "Resume account")
		: h("button", { type: "button", class: "quiet danger", id: "suspend", click: () => suspend(id, environment) }, "Suspend account");
	return [h("div", { class: "top" }, h("h1", {}, id, " ", suspended ? badge("Suspended", "warn") : ""), toggle),
		suspended && h("p", { class: "note" }, `All ${environment} keys of this account are refused until it is resumed.`),
		h("div", { class: "slots" }, slot(id, environment, "secret", keys.items), slot(id, environment, "publishable", keys.items)),
		eventsSection(events, fresh, reload)];
}

/* ---- superseded keys in use ---- */

async function inGrace(environment, found) {
	const keys = [];
	for (let i = 0; i < found.length; i += 8)
		keys.push(...await Promise.all(found.slice(i, i + 8).map((a) =>
			list("/v1/keys/list", "keys", { environment, account: a.account }, 10))));
	return keys.flatMap(({ items }) => items.filter((k) => k.state === "grace").map((k) => (
		{ key: k, since_ms: items.find((n) => n.kind === k.kind && n.generation === k.generation + 1)?.created_ms ?? 0 })));
}

/* Fob knows the minute of the last use: one in the minute of the roll counts. */
const isUsed = ({ key, since_ms }) => key.last_used_ms !== 0 && key.last_used_ms + MINUTE_MS > since_ms;

export async function superseded({ environment }) {
	const { items, next } = await list("/v1/accounts/list", "accounts", { environment }, PAGES);
	const all = await inGrace(environment, items.filter((a) => a.keys_in_grace > 0));
	const used = all.filter(isUsed).sort((a, b) => a.key.expires_ms - b.key.expires_ms);
	const rest = all.length - used.length;
	return [h("h1", {}, "Superseded keys still in use"),
		h("p", { class: "help" }, "Keys that were rolled, still work, and were used since. Whoever uses one is refused when its time ends."),
		used.length === 0 ? h("p", { class: "empty" }, `No superseded ${environment} key is in use.`)
			: table("Superseded keys still in use", ["Account", "Key", "Generation", "Last used", "Ends"], used.map(({ key }) => [
				h("a", { href: link(environment, key.account) }, key.account), h("code", {}, masked(key)), String(key.generation),
				when(key.last_used_ms), h("span", {}, "in ", countdown(key.expires_ms))])),
		rest > 0 && h("p", { class: "help" }, `${rest} more ${rest === 1 ? "is" : "are"} in grace and ${rest === 1 ? "was" : "were"} not used since the roll.`),
		next !== "" && h("p", { class: "note" }, `There are more accounts than were looked at: the first ${items.length}.`)];
}
