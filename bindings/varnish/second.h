/*
 * The text of a second, as strftime gives it: the same for all requests that start in it, in whatever thread.
 *
 * Shared and not each thread's own, as finding a thread's own is a call in a module that is loaded later than its host. A
 * sequence lock; words in place of fences, which the thread sanitizer does not know.
 */
#ifndef SECOND_H
#define SECOND_H

#include <stdbool.h>
#include <stdint.h>

struct span;
struct writer;

#define SECOND_TEXT_BYTES 64

struct second {
	uint32_t sequence;	/* odd while the rest is replaced */
	uint32_t len;		/* of the text */
	const char *format;	/* strftime's */
	uint64_t stamp[2];	/* what a stamp of that second begins with */
	uint64_t text[SECOND_TEXT_BYTES / 8];
};

/* Writes the text of the second of a stamp of the log. False if it is no stamp. */
bool second_write(struct second *, const struct span *stamp, struct writer *);

/* The stamp as varnishncsa reads it, in seconds; NAN if it is none. */
double stamp_read(const struct span *);

#endif
