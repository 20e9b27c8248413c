/*
 * page.js - Settings > API Keys: which view is shown, signing in, and what happens when something does not answer. What the
 * page shows is what fobd said last; when fobd cannot say it any more, it is taken away.
 */
import { Fault, onSignedOut, readSession, session, signIn, signOut } from "./calls.js";
import { closeSecret, watchChanges } from "./changes.js";
import { byId, h, replace, say, tick } from "./dom.js";
import { account, accounts, superseded } from "./views.js";

const REFRESH_MS = 15000;
const RETRY_MS = 2000;
const ACTIVE_MS = 60000;  /* calls are made by themselves only so long after somebody did something: else no session would end */

let shown = 0;         /* counts loads: an answer to an older one is dropped */
let down = false;
let loaded_ms = 0, acted_ms = 0;
let timer = 0;

/* ---- where ---- */

function place() {
	const [, environment, view, id] = location.hash.match(/^#\/(live|test)(?:\/(account|superseded))?(?:\/(.+))?$/) ?? ["", "live"];
	try {
		return { environment, view: view ?? "accounts", account: id === undefined ? "" : decodeURIComponent(id) };
	} catch {
		return { environment, view: "accounts", account: "" };
	}
}

function drawFrame() {
	const { environment, view, account: id } = place();
	for (const part of ["nav", "environments", "who"])
		byId(part).hidden = !session.open;
	document.body.dataset.environment = environment;
	byId(environment).checked = true;
	byId("user").textContent = session.user ?? "";
	byId("to-accounts").href = `#/${environment}`;
	byId("to-superseded").href = `#/${environment}/superseded`;
	byId("to-accounts").ariaCurrent = view === "accounts" ? "page" : null;
	byId("to-superseded").ariaCurrent = view === "superseded" ? "page" : null;
	document.title = `${view === "account" ? `${id} · ` : view === "superseded" ? "Superseded · " : ""}API keys`;
}

/* ---- loading ---- */

const VIEWS = { accounts, account, superseded };

function banner(text) {
	byId("banner").hidden = text === "";
	if (byId("banner").textContent !== text)
		byId("banner").textContent = text;
}

function showDown(fault) {
	if (!down)
		replace(byId("main"), h("div", { class: "empty" }, h("h1", {}, "No answer"), h("p", {}, "Nothing is shown, as it may not be true any more."),
			h("button", { type: "button", id: "retry", click: () => load() }, "Try again")));
	down = true;
	byId("age").hidden = true;
	banner(fault.code === "NO_ANSWER" ? fault.message : `fobd cannot be reached: ${fault.message}`);
}

function showRefusal(fault) {
	const { environment, account: id } = place();
	const text = fault.code === "NOT_FOUND" && id !== "" ? `There is no account ${id} in ${environment}.` : fault.message;
	replace(byId("main"), h("div", { class: "empty" }, h("h1", {}, "Not here"), h("p", {}, text),
		h("p", {}, h("a", { href: `#/${environment}` }, "To the accounts"))));
}

function problem(fault) {
	if (fault.kind === "down")
		showDown(fault);
	else if (fault.kind === "refused")
		showRefusal(fault);
	else if (!(fault instanceof Fault))
		throw fault;
}

function answered() {
	if (down)
		say("Fob answers again");
	down = false;
	banner("");
	loaded_ms = Date.now();
	byId("age").hidden = true;
}

/* The facts are not looked at any more: say how old they are. */
function showAge() {
	byId("age-time").textContent = new Date(loaded_ms).toLocaleTimeString();
	byId("age").hidden = down || !session.open;
}

/* Run what loads more of this view, with the same treatment of faults. */
async function fresh(action) {
	try {
		await action();
		answered();
	} catch (fault) {
		problem(fault);
	}
}

/* ${quiet}: by itself; the facts stay where they are until the new ones are there. */
async function load(quiet = false) {
	const number = ++shown;
	const where = place();
	clearTimeout(timer);
	drawFrame();
	if (!session.open)
		return;
	if (!quiet && !down)
		replace(byId("main"), h("h1", { class: "empty" }, "Loading…"));
	try {
		const content = await VIEWS[where.view](where, fresh, () => load(true));
		if (number !== shown)
			return;
		answered();
		replace(byId("main"), ...content);
	} catch (fault) {
		if (number === shown)
			problem(fault);
	}
	schedule();
}

/* ---- by itself ---- */

const isActive = () => document.visibilityState === "visible" && Date.now() - acted_ms < ACTIVE_MS;

/* Does somebody write, or choose something, in the view? Then it is not drawn anew under their hands. */
const isInUse = () => byId("main").contains(document.activeElement) && document.activeElement.matches("input, select");

function schedule() {
	clearTimeout(timer);
	timer = setTimeout(async () => {
		if (!session.open)
			return;
		if (isActive() && !isInUse()) {
			await load(true);
			return;
		}
		await readSession().catch((fault) => fault.kind === "session" ? ended() : fault.kind === "down" ? showDown(fault) : null);
		if (Date.now() - loaded_ms > ACTIVE_MS)
			showAge();
		schedule();
	}, down ? RETRY_MS : Math.min(REFRESH_MS, Math.max(500, session.ends_ms - Date.now() + 100)));
}

function acted() {
	const before_ms = acted_ms;
	acted_ms = Date.now();
	if (session.open && acted_ms - before_ms > ACTIVE_MS && acted_ms - loaded_ms > REFRESH_MS && !isInUse())
		load(true);
}

/* ---- signing in ---- */

async function isByProxy() {
	try {
		await signIn(null);
		return true;
	} catch (fault) {
		if (fault.code === "INVALID_ARGUMENT")
			return false;
		throw fault;
	}
}

function askToSignIn(why, byProxy = byId("by-token").hidden) {
	shown++;
	drawFrame();
	replace(byId("main"));
	banner("");
	byId("age").hidden = true;
	closeSecret();
	byId("by-token").hidden = byProxy;
	byId("by-proxy").hidden = !byProxy;
	byId("token").required = !byProxy;
	byId("sign-in-why").textContent = why;
	if (!byId("sign-in").open)
		byId("sign-in").showModal();
	(byProxy ? byId("sign-in-go") : byId("token")).focus();
}

function ended() {
	Object.assign(session, { open: false, user: null, csrf: "" });
	askToSignIn("Your session has ended. Sign in again.");
}

function entered() {
	byId("sign-in").close();
	acted_ms = Date.now();
	down = false;
	if (!byId("dialog").open)
		byId("main").focus();
	load();
}

async function onSignIn(event) {
	event.preventDefault();
	const input = byId("token");
	const token = byId("by-token").hidden ? null : input.value.trim();
	input.value = "";
	byId("sign-in-go").disabled = true;
	try {
		await signIn(token);
		entered();
	} catch (fault) {
		byId("sign-in-why").textContent = fault.wait_s > 0 ? `Too many wrong tokens. Wait ${fault.wait_s} seconds.`
			: fault.kind === "session" && token !== null ? "This is not the sign-in token." : fault.message;
		(token === null ? byId("sign-in-go") : input).focus();
	} finally {
		byId("sign-in-go").disabled = false;
	}
}

async function onSignOut() {
	try {
		await signOut();
		askToSignIn("You have signed out.");
	} catch (fault) {
		if (fault.kind === "session")
			ended();
		else
			banner(`You are still signed in: ${fault.message}`);
	}
}

async function begin() {
	try {
		await readSession().catch(async (fault) => {
			if (fault.kind !== "session")
				throw fault;
			if (!await isByProxy())
				throw fault;
		});
		entered();
	} catch (fault) {
		askToSignIn(fault.kind === "session" && fault.code === "UNAUTHENTICATED" ? "" : fault.message, false);
	}
}

/* ---- the page ---- */

addEventListener("hashchange", () => {
	byId("main").focus();
	load();
});
for (const name of ["pointerdown", "keydown", "focus"])
	addEventListener(name, acted, { passive: true });
byId("environments").addEventListener("change", (event) => {
	const { view, account: id } = place();
	const rest = view === "account" ? `/account/${encodeURIComponent(id)}` : view === "superseded" ? "/superseded" : "";
	location.hash = `#/${event.target.value}${rest}`;
});
byId("skip").addEventListener("click", (event) => {
	event.preventDefault();
	byId("main").focus();
});
byId("sign-in").addEventListener("cancel", (event) => event.preventDefault());
byId("sign-in").addEventListener("close", () => { if (!session.open) byId("sign-in").showModal(); });
byId("sign-in-form").addEventListener("submit", onSignIn);
byId("refresh").addEventListener("click", () => load());
byId("sign-out").addEventListener("click", onSignOut);
setInterval(() => { if (tick() && session.open && !down) load(true); }, 1000);
onSignedOut.call = ended;
watchChanges(() => load(true));
begin();
