/*
 * event_line.h - an event as `fob events --output json` prints it, one object a line, read back.
 */
#ifndef EVENT_LINE_H
#define EVENT_LINE_H

#include "service/store/record.h"

/*
 * event_line_read(line, environment, event, why):
 * Read the event of ${environment} that ${line} is into *${event}; members that are not known here say nothing.
 * Returns: 0; 1 when it is an event of the other environment; -1 with what is wrong at *${why}, which is static.
 */
int event_line_read(const char *line, enum environment environment, struct record_event *event, const char **why);

#endif
