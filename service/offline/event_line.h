/*
 * event_line.h - read an event from a line that `fob events --output json` printed.
 */
#ifndef EVENT_LINE_H
#define EVENT_LINE_H

#include "service/store/record.h"

/*
 * event_line_read(line, environment, event, why):
 * Read the event of ${environment} in ${line} into *${event}. Unknown members are ignored.
 * Returns: 0; 1: an event of the other environment; -1 with a static text at *${why}.
 */
int event_line_read(const char *line, enum environment environment, struct record_event *event, const char **why);

#endif
