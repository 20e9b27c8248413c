/*
 * calls.js - the JSON calls of fob-http, and the session. Nothing is put into the browser's storage: the session is a cookie
 * that scripts cannot read, all else is in this module's memory and ends with the page.
 */
import { clock } from "./dom.js";

const TIMEOUT_MS = 15000;

/* ${kind}: "down" (no answer, or fobd's), "session" (not signed in), "refused". */
export class Fault extends Error {
	constructor(kind, code, message, wait_s = 0) {
		super(message);
		Object.assign(this, { kind, code, wait_s });
	}
}

/* ${ends_ms}: when it ends if nobody does anything, by the browser's clock. */
export const session = { open: false, user: null, csrf: "", idle_ms: 0, ends_ms: 0 };

/* Called when the server says that there is no session. Set by page.js. */
export const onSignedOut = { call: () => {} };

function readClock(reply) {
	const ahead_ms = Date.parse(reply.headers.get("Date") ?? "") - Date.now();
	if (Number.isFinite(ahead_ms))  /* its second has begun before */
		clock.ahead_ms = Math.abs(ahead_ms) > 2000 ? ahead_ms : 0;
}

function faultOf(reply, said) {
	const code = said?.error?.code ?? `HTTP_${reply.status}`;
	const message = said?.error?.message ?? `fob-http answered with status ${reply.status}`;
	if (reply.status === 401)
		return new Fault("session", code, message);
	if (reply.status >= 500 && reply.status !== 501)
		return new Fault("down", code, message);
	return new Fault("refused", code, message, Number(reply.headers.get("Retry-After") ?? 0));
}

async function ask(method, path, body) {
	const headers = { "X-CSRF-Token": session.csrf };
	let reply, said;
	if (body !== undefined)
		headers["Content-Type"] = "application/json";
	try {
		reply = await fetch(path, { method, headers, credentials: "same-origin", cache: "no-store", redirect: "error",
			body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS) });
		said = await reply.json().catch(() => null);
	} catch {
		throw new Fault("down", "NO_ANSWER", "fob-http does not answer");
	}
	readClock(reply);
	if (!reply.ok)
		throw faultOf(reply, said);
	if (said === null)  /* cut off */
		throw new Fault("down", "NO_ANSWER", "fob-http's answer did not arrive whole");
	return said;
}

/* ---- the session ---- */

function opened(said) {
	Object.assign(session, { open: true, user: said.user, csrf: said.csrf_token, ends_ms: Date.now() + said.left_ms });
	session.idle_ms = Math.max(session.idle_ms, said.left_ms);
}

/* Also tells whether the session is still open; it is not used by that. */
export async function readSession() {
	opened(await ask("GET", "/v1/session"));
}

/* ${token}: null where a proxy names the user. */
export async function signIn(token) {
	opened(await ask("POST", "/v1/session", token === null ? {} : { token }));
}

export async function signOut() {
	await ask("DELETE", "/v1/session");
	Object.assign(session, { open: false, user: null, csrf: "" });
}

/* A call. Where another tab has signed in, this one's CSRF token is an old one: it is read once more. */
export async function call(path, body) {
	try {
		const said = await ask("POST", path, body).catch(async (fault) => {
			if (fault.code !== "CSRF")
				throw fault;
			await readSession();
			return ask("POST", path, body);
		});
		session.ends_ms = Date.now() + session.idle_ms;
		return said;
	} catch (fault) {
		if (fault.kind === "session") {
			Object.assign(session, { open: false, user: null, csrf: "" });
			onSignedOut.call();
		}
		throw fault;
	}
}

/* ---- changes ---- */

/* Changes that were sent and have no answer yet, by what they change. fobd may have made them. */
const unanswered = new Map();

function newToken() {
	return Array.from(crypto.getRandomValues(new Uint8Array(32)), (b) => b.toString(16).padStart(2, "0")).join("");
}

export const isUnanswered = (name) => unanswered.has(name);

/*
 * Make a change, once. ${name} says what it changes. If an earlier change of that name has no answer, that one is sent again,
 * with its token, in the place of this one: fobd makes it once, and gives its answer again.
 */
export async function change(name, path, body) {
	const sent = unanswered.get(name) ?? { path, body: { ...body, request_token: newToken() } };
	unanswered.set(name, sent);
	try {
		const said = await call(sent.path, sent.body);
		unanswered.delete(name);
		return said;
	} catch (fault) {
		if (fault.kind === "refused")
			unanswered.delete(name);
		throw fault;
	}
}

/* ---- lists ---- */

/* All pages of a list, at most ${pages} of them. Returns { items, next }; next is "" after the last one. */
export async function list(path, member, body, pages, next = "") {
	const items = [];
	do {
		const said = await call(path, { page_size: 1000, ...body, page_token: next });
		items.push(...said[member]);
		next = said.next_page_token;
	} while (next !== "" && --pages > 0);
	return { items, next };
}

/* Events from ${next} on. Their list has no end: its next is kept for later. */
export async function listEvents(body, pages, next = "") {
	const items = [];
	let said;
	do {
		said = await call("/v1/events/list", { page_size: 1000, ...body, page_token: next });
		items.push(...said.events);
		next = said.next_page_token;
	} while (said.more && --pages > 0);
	return { items, next, more: said.more };
}
