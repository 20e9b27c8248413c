/*
 * dom.js - elements, times and focus. All text goes into the document as text, never as HTML.
 */

/* A new element. An attribute that is a function is a listener; one that is null or false is left out. */
export function h(tag, attributes = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (typeof value === "function")
			element.addEventListener(name, value);
		else if (value === true)
			element.setAttribute(name, "");
		else if (value !== null && value !== false && value !== undefined)
			element.setAttribute(name, value);
	}
	element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
	return element;
}

export const byId = (id) => document.getElementById(id);

/* Read out by screen readers. The same text twice is read twice. */
export function say(text) {
	const box = byId("status");
	box.textContent = "";
	setTimeout(() => { box.textContent = text; }, 50);
}

/* ---- times ---- */

const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const LONG = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/* How far the server's clock is ahead of the browser's. Set by calls.js. */
export const clock = { ahead_ms: 0, now_ms: () => Date.now() + clock.ahead_ms };

export function when(ms, none = "never") {
	if (!ms)
		return none;
	const date = new Date(ms);
	return h("time", { datetime: date.toISOString(), title: LONG.format(date) }, SHORT.format(date));
}

function leftText(ms) {
	const s = Math.max(0, Math.ceil(ms / 1000));
	const two = (n) => String(n).padStart(2, "0");
	if (s === 0)
		return "ended";
	return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

/* The time that is left until ${ms}, which tick() keeps right. */
export function countdown(ms) {
	const date = new Date(ms);
	return h("time", { class: "countdown", role: "timer", "data-until": String(ms), datetime: date.toISOString(),
		title: LONG.format(date) }, leftText(ms - clock.now_ms()));
}

/* Returns true when a countdown has reached its end since the last call. */
export function tick() {
	let ended = false;
	for (const element of document.querySelectorAll("time.countdown")) {
		const text = leftText(Number(element.dataset.until) - clock.now_ms());
		if (element.textContent === text)
			continue;
		element.textContent = text;
		ended ||= text === "ended";
	}
	return ended;
}

/* ---- focus ---- */

/* Replace what is in ${parent}. By their ids, what had the focus gets it again, and what was folded out stays so. */
export function replace(parent, ...children) {
	const id = parent.contains(document.activeElement) ? document.activeElement.id : "";
	const open = [...parent.querySelectorAll("details[open]")].map((element) => element.id);
	parent.replaceChildren(...children.flat().filter((c) => c));
	for (const details of open.map(byId))
		if (details)
			details.open = true;
	if (id)
		byId(id)?.focus();
}
