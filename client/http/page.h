/*
 * page.h - the files of Settings > API Keys, for the role operator. They hold no facts: the page asks for those as JSON,
 * and everybody may read the files.
 */
#ifndef HTTP_PAGE_H
#define HTTP_PAGE_H

#include "client/http/server.h"

#define PAGE_FILES 7

/*
 * page_paths(handlers):
 * Fill ${handlers} with those of the page's files, "/" first. GET and HEAD: 200; other methods: 405.
 */
void page_paths(struct http_handler handlers[PAGE_FILES]);

#endif
