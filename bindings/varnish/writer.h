/* Text into a bounded buffer: what does not fit is noticed, and nothing of it is a line. */
#ifndef WRITER_H
#define WRITER_H

#include "bytes.h"

/* Once full, there is no room for anything any more. Behind `end` the buffer has SLACK bytes more, into which anything may be written. */
struct writer {
	char *p;
	char *end;
	bool full;
};

/* Of at least SLACK bytes. */
static inline struct writer
writer_of(char *buffer, size_t bytes)
{
	return ((struct writer){ .p = buffer, .end = buffer + bytes - SLACK });
}

static inline bool
has_room(struct writer *w, size_t len)
{
	if (likely((size_t)(w->end - w->p) >= len))
		return (true);
	w->full = true;
	w->end = w->p;
	return (false);
}

/* The first `len` of 8 bytes. */
static inline void
write_few(struct writer *w, const char text[8], size_t len)
{
	if (!has_room(w, len))
		return;
	memcpy(w->p, text, 8);
	w->p += len;
}

/* Any bytes as they are, without slack behind them. */
static inline void
write_text(struct writer *w, const char *text, size_t len)
{
	if (!has_room(w, len))
		return;
	memcpy(w->p, text, len);
	w->p += len;
}

/* A text with slack behind it as it is. */
static inline void
write_padded(struct writer *w, const char *text, size_t len)
{
	if (!has_room(w, len))
		return;
	for (size_t i = 0; i < len; i += 16)
		memcpy(w->p + i, text + i, 16);
	w->p += len;
}

/* A text with slack behind it, as varnishncsa escapes: backslash, quote and all that is not printable ASCII. */
void write_escaped(struct writer *, const char *b, const char *e);

/* At least `digits` digits, filled up with zeros; at most NUMBER_BYTES of them. */
void write_number(struct writer *, int64_t, unsigned digits);

#endif
