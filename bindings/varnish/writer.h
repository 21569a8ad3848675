/* Text into a bounded buffer: what does not fit is noticed, and nothing of it is a line. */
#ifndef WRITER_H
#define WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct writer {
	char *p;
	char *end;
	bool full;
};

static inline void
write_text(struct writer *w, const char *text, size_t len)
{
	if ((size_t)(w->end - w->p) < len) {
		w->full = true;
		return;
	}
	memcpy(w->p, text, len);
	w->p += len;
}

/* As varnishncsa escapes: backslash, quote and all that is not printable ASCII. */
void write_escaped(struct writer *, const char *b, const char *e);

/* At least `digits` digits, filled up with zeros; at most NUMBER_BYTES of them. */
void write_number(struct writer *, int64_t, unsigned digits);

#endif
