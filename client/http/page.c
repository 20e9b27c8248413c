/*
 * page.c - the files of client/http/page/, which are part of the program (see page.h). Reads no file when it runs.
 */
#include "client/http/page.h"

#include <stdint.h>
#include <string.h>

/* The assembler reads the file; make runs it in the folder that has client/. */
#define EMBED(name, path)                                                                                            \
	__asm__(".pushsection .rodata\n"                                                                             \
		".hidden page_" #name "\n.hidden page_" #name "_end\n"                                               \
		".globl page_" #name "\n.globl page_" #name "_end\n"                                                 \
		"page_" #name ":\n.incbin \"client/http/page/" path "\"\npage_" #name "_end:\n.byte 0\n.popsection\n"); \
	extern const char page_##name[] __attribute__((visibility("hidden")));                                       \
	extern const char page_##name##_end[] __attribute__((visibility("hidden")))

EMBED(index, "index.html");
EMBED(css, "page.css");
EMBED(js, "page.js");
EMBED(calls, "calls.js");
EMBED(dom, "dom.js");
EMBED(views, "views.js");
EMBED(changes, "changes.js");

struct file {
	const char *path, *type;
	const char *begin, *end;
};

#define JAVASCRIPT "text/javascript; charset=utf-8"

static const struct file files[PAGE_FILES] = {
	{ "/", "text/html; charset=utf-8", page_index, page_index_end },
	{ "/page.css", "text/css; charset=utf-8", page_css, page_css_end },
	{ "/page.js", JAVASCRIPT, page_js, page_js_end },
	{ "/calls.js", JAVASCRIPT, page_calls, page_calls_end },
	{ "/dom.js", JAVASCRIPT, page_dom, page_dom_end },
	{ "/views.js", JAVASCRIPT, page_views, page_views_end },
	{ "/changes.js", JAVASCRIPT, page_changes, page_changes_end },
};

static const struct http_header headers[] = {
	{ "Content-Security-Policy",
	    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
	    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; require-trusted-types-for 'script'" },
	{ "X-Content-Type-Options", "nosniff" },
	{ "X-Frame-Options", "DENY" },
	{ "Referrer-Policy", "no-referrer" },
	{ "Cross-Origin-Opener-Policy", "same-origin" },
	{ "Cross-Origin-Resource-Policy", "same-origin" },
};

static void
handle(struct http_request *request, void *arg)
{
	static const struct http_header allow[] = { { "Allow", "GET, HEAD" } };
	const struct file *file = arg;
	const struct http_reply refusal = { .status = 405, .headers = allow, .n_headers = 1 };
	const struct http_reply reply = { .status = 200, .headers = headers,
		.n_headers = sizeof(headers) / sizeof(headers[0]), .type = file->type, .body = file->begin,
		.body_len = (size_t)(file->end - file->begin) };

	if (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0)
		http_reply(request, &reply);
	else
		http_reply(request, &refusal);
}

void
page_paths(struct http_handler handlers[PAGE_FILES])
{
	for (size_t i = 0; i < PAGE_FILES; i++)
		handlers[i] = (struct http_handler){
			.path = files[i].path, .no_body = true, .handle = handle, .arg = (void *)(uintptr_t)&files[i]
		};
}
