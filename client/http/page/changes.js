/*
 * changes.js - the dialogs that change something: what will happen, the change, its result. A new secret is in the dialog that
 * shows it, and nowhere else; it is gone when the dialog is closed, the session ends or the page is left.
 */
import { change, isUnanswered } from "./calls.js";
import { byId, countdown, h, say, when } from "./dom.js";

const box = () => byId("dialog");

export const masked = (key) => `${key.kind === "secret" ? "sk" : "pk"}_${key.environment}_…${key.last4 ?? "????"}`;

const NAMES = { secret: "secret key", publishable: "publishable key" };
export const keyName = (key) => `${key.environment} ${NAMES[key.kind]}`;

/* ---- the dialog ---- */

let mustConfirm = false;  /* a secret is shown */
let busy = false;
let opener = "";
let after = () => {};

/* ${then}: called when a change was made, or was refused because something else had changed. */
export function watchChanges(then) {
	after = then;
	const stay = (event) => {
		if ((mustConfirm || busy) && (event.type === "cancel" || event.key === "Escape"))
			event.preventDefault();
	};
	box().addEventListener("cancel", stay);
	box().addEventListener("keydown", stay);  /* browsers heed "cancel" once only */
	box().addEventListener("close", () => {
		if (box().open)
			return;  /* again: this comes later than the dialog is closed */
		wipe();
		(byId(opener) ?? byId("main")).focus();
	});
	addEventListener("beforeunload", (event) => { if (mustConfirm) event.preventDefault(); });
	addEventListener("pagehide", close);
}

/* At once: "close" comes later than the dialog is closed. */
function wipe() {
	mustConfirm = false;
	box().replaceChildren();
}

export function close() {
	wipe();
	if (box().open)
		box().close();
}

/* The session has ended: a secret that is shown does not wait for who signs in next. */
export function closeSecret() {
	if (mustConfirm)
		close();
}

function open(...content) {
	opener = document.activeElement?.id ?? "";
	box().replaceChildren(...content);
	if (!box().open)
		box().showModal();
}

const title = (text) => h("h1", { id: "dialog-title", tabindex: "-1" }, text);

/* ---- new secrets ---- */

async function copy(secret, button, code) {
	try {
		await navigator.clipboard.writeText(secret);
		button.textContent = "Copied";
		say("Copied to the clipboard");
	} catch {
		getSelection().selectAllChildren(code);
		button.textContent = "Selected: press Ctrl+C";
		say("The browser refused to copy. The key is selected: press Control and C.");
	}
}

function secretLine(made, i) {
	const code = h("code", { class: "secret", id: `secret-${i}`, tabindex: "0" }, made.secret);
	const button = h("button", { type: "button", id: `copy-${i}`, "aria-label": `Copy the ${keyName(made.key)}`,
		click: () => copy(code.textContent, button, code) }, "Copy");
	return h("div", { class: "made" }, h("span", { class: "label" }, `${keyName(made.key)}, generation ${made.key.generation}`),
		h("div", { class: "row" }, code, button));
}

function showSecrets(heading, made, ...more) {
	mustConfirm = true;
	box().replaceChildren(title(heading),
		h("p", {}, made.length === 1 ? "This is the only time that the key is shown. Copy it to where it will be used."
			: "This is the only time that the keys are shown. Copy them to where they will be used."),
		...made.map(secretLine), ...more,
		h("p", { class: "buttons" }, h("button", { type: "button", class: "main", id: "stored", click: close },
			made.length === 1 ? "I have stored it" : "I have stored them")));
	byId("dialog-title").focus();
}

/* ---- asking, then changing ---- */

/* After a fault of this kind or code. */
const WHY = {
	ABORTED: "Somebody else rolled this key after you opened this dialog. Nothing was changed. Close it and look at the new key first.",
	down: " It is not known whether the change was made. Try again: the same request is sent, and the change is made once.",
	session: " Sign in, then try again: the same request is sent, and the change is made once.",
};

/*
 * A form that makes a change. ${send} makes it and shows its result. ${names}: those of its changes, for change().
 */
function form({ heading, content, confirm, danger, names, send }) {
	const problem = h("p", { role: "alert", class: "problem", hidden: true });
	const go = h("button", { type: "submit", id: "confirm", class: danger ? "main danger" : "main" }, confirm);
	const cancel = h("button", { type: "button", id: "cancel", click: close }, "Cancel");
	const fields = h("fieldset", { class: "plain" }, ...content);
	const freeze = () => {
		fields.disabled = names().some(isUnanswered);  /* the same request again, not another one */
	};
	let outdated = false;
	const submit = async (event) => {
		event.preventDefault();
		if (busy)
			return;
		busy = true;
		go.disabled = cancel.disabled = true;
		go.textContent = "Working…";
		problem.hidden = true;
		try {
			await send();
		} catch (fault) {
			problem.textContent = WHY[fault.code] ?? `${fault.message}.${WHY[fault.kind] ?? ""}`;
			problem.hidden = false;
			outdated = fault.code === "ABORTED";
			if (fault.kind === "refused")
				after();
		} finally {
			busy = false;
			cancel.disabled = false;
			go.disabled = outdated;
			cancel.textContent = outdated ? "Close" : "Cancel";
			go.textContent = names().some(isUnanswered) ? "Try again" : confirm;
			freeze();
		}
	};
	const result = h("form", { submit }, title(heading), fields, problem, h("p", { class: "buttons" }, cancel, go));
	open(result);
	if (names().some(isUnanswered)) {
		problem.textContent = "An earlier request for this has had no answer." + WHY.down;
		problem.hidden = false;
		go.textContent = "Try again";
		freeze();
	}
	return { go, fields };
}

/* ---- roll ---- */

const LESS = [[300, "5 minutes"], [900, "15 minutes"], [3600, "1 hour"], [14400, "4 hours"], [43200, "12 hours"]];

function graceFields(onChange) {
	const select = h("select", { id: "grace-less", "aria-label": "How long the old key works", input: () => {
		byId("grace-some").checked = true;
		onChange();
	} }, ...LESS.map(([s, text]) => h("option", { value: String(s), selected: s === 3600 }, text)));
	const choice = (value, label, help, ...more) => h("div", { class: "choice" },
		h("input", { type: "radio", name: "grace", id: `grace-${value}`, value, checked: value === "day", change: onChange }),
		h("div", {}, h("label", { for: `grace-${value}` }, label), ...more, h("p", { class: "help" }, help)));
	return {
		fields: h("fieldset", { class: "choices" }, h("legend", {}, "The old key"),
			choice("day", "works for 24 hours more", "Time to put the new key into every service."),
			choice("some", "works for less: ", "Afterwards it is refused.", select),
			choice("now", "ends now", "It has leaked. Every request with it is refused as soon as this is done.")),
		seconds: () => byId("grace-now").checked ? 0 : byId("grace-day").checked ? 86400 : Number(select.value),
	};
}

function oldKeyNow(key) {
	if (key === undefined)
		return [h("p", {}, "The slot has no key yet. This makes the first one.")];
	if (key.state !== "current")
		return [h("p", {}, `The key ${masked(key)} has been revoked. This makes a new one.`)];
	return [h("dl", { class: "facts" }, h("dt", {}, "Key"), h("dd", {}, h("code", {}, masked(key)), ` generation ${key.generation}`),
		h("dt", {}, "Last used"), h("dd", { id: "dialog-last-used" }, when(key.last_used_ms)))];
}

function rolled(said) {
	const old = said.old_key;
	const fate = old === null || old.state === "grace" ? null : h("p", { id: "old-fate" }, "The old key has ended.");
	showSecrets("The new key", [said.new_key], fate ??
		(old === null ? null : h("p", { id: "old-fate" }, `The old key ${masked(old)} works until `, when(old.expires_ms), ": ",
			countdown(old.expires_ms), " more.")) ?? "");
}

/* ${newest}: the slot's newest key; undefined: it never had one. */
export function roll(account, environment, newest) {
	const name = `roll ${environment} ${account}`;
	const usable = newest?.state === "current";
	const grace = usable ? graceFields(() => {
		const now = grace.seconds() === 0;
		dialog.go.textContent = now ? "Roll, and end the old key now" : "Roll key";
		dialog.go.classList.toggle("danger", now);
	}) : null;
	const dialog = form({
		heading: `Roll the ${environment} secret key of ${account}`,
		content: [h("p", {}, "A new key is made and shown once."), ...oldKeyNow(newest), grace?.fields ?? ""],
		confirm: "Roll key", names: () => [name],
		send: async () => {
			const said = await change(name, "/v1/keys/roll", { environment, account, kind: "secret",
				expected_generation: newest?.generation ?? 0, ...(usable ? { grace: { seconds: grace.seconds() } } : {}) });
			rolled(said);
			after();
		},
	});
}

/* ---- revoke, suspend, resume ---- */

function ask(heading, text, confirm, danger, name, path, body, done) {
	form({ heading, content: text, confirm, danger, names: () => [name], send: async () => {
		await change(name, path, body);
		close();
		say(done);
		after();
	} });
}

export function revoke(key) {
	const text = [`Every request with ${masked(key)} is refused as soon as this is done. It cannot be undone.`];
	if (key.state === "current")
		text.push(key.kind === "secret" ? "The slot then has no key that works, until you roll it."
			: "Publishable keys do not roll: the account has no publishable key in this environment afterwards.");
	ask(`Revoke the ${keyName(key)} of ${key.account}`, [...text.map((t) => h("p", {}, t)), h("dl", { class: "facts" },
		h("dt", {}, "Generation"), h("dd", {}, String(key.generation)),
		h("dt", {}, "Last used"), h("dd", {}, when(key.last_used_ms)))],
	"Revoke key", true, `revoke ${key.environment} ${key.account} ${key.kind} ${key.generation}`, "/v1/keys/revoke",
	{ environment: key.environment, account: key.account, kind: key.kind, generation: key.generation }, "The key is revoked");
}

export function suspend(account, environment) {
	ask(`Suspend ${account} in ${environment}`, [h("p", {}, `All ${environment} keys of the account are refused until it is resumed. ` +
		"They stay as they are; a grace goes on running.")], "Suspend", true, `suspend ${environment} ${account}`,
	"/v1/accounts/suspend", { environment, account }, "The account is suspended");
}

export function resume(account, environment) {
	ask(`Resume ${account} in ${environment}`, [h("p", {}, `The account's ${environment} keys work again, but for those that have ended.`)],
		"Resume", false, `resume ${environment} ${account}`, "/v1/accounts/resume", { environment, account }, "The account is resumed");
}

/* ---- create ---- */

const ENVIRONMENTS = ["live", "test"];

/* Two changes, one in each environment. What one of them gave is kept until the other has its answer. */
export function create(id, then) {
	const made = new Map(), existed = new Set();
	const input = h("input", { id: "new-account", required: true, maxlength: "64", pattern: "[A-Za-z0-9._\\-]+", value: id, autocomplete: "off",
		spellcheck: "false", "aria-describedby": "new-account-help", title: "1 to 64 characters of A-Z a-z 0-9 . _ -" });
	const boxes = ENVIRONMENTS.map((e) => h("label", {}, h("input", { type: "checkbox", id: `in-${e}`, checked: true }), ` ${e}`));
	const name = (e) => `create ${e} ${input.value}`;
	form({
		heading: "Create an account", confirm: "Create", names: () => ENVIRONMENTS.map(name),
		content: [h("label", { for: "new-account" }, "Account"), input,
			h("p", { class: "help", id: "new-account-help" }, "1 to 64 letters, digits and . _ -"),
			h("fieldset", { class: "row" }, h("legend", {}, "With keys for"), ...boxes)],
		send: async () => {
			const wanted = ENVIRONMENTS.filter((e) => byId(`in-${e}`).checked);
			if (wanted.length === 0)
				throw new Error("Choose live, test or both");
			for (const e of wanted.filter((e) => !made.has(e) && !existed.has(e)))
				await change(name(e), "/v1/accounts/create", { environment: e, account: input.value }).then(
					(said) => made.set(e, said), (fault) => {
						if (fault.code !== "ALREADY_EXISTS" || wanted.length === 1)
							throw fault;
						existed.add(e);
					});
			if (made.size === 0) {
				existed.clear();
				throw new Error(`The account ${input.value} exists already`);
			}
			const account = input.value;
			showSecrets(`The keys of ${account}`, [...made.values()].flatMap((m) => [m.secret_key, m.publishable_key]),
				...[...existed].map((e) => h("p", {}, `In ${e} the account existed already: its keys are as they were.`)));
			made.clear();
			then(account, wanted[0]);
		},
	});
}
