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

/* For up to 16 bytes. The two halves may overlap. */
static inline void
copy_short(char *to, const char *from, size_t len)
{
	if (len >= 8) {
		uint64_t head, tail;

		memcpy(&head, from, 8);
		memcpy(&tail, from + len - 8, 8);
		memcpy(to, &head, 8);
		memcpy(to + len - 8, &tail, 8);
	} else if (len >= 4) {
		uint32_t head, tail;

		memcpy(&head, from, 4);
		memcpy(&tail, from + len - 4, 4);
		memcpy(to, &head, 4);
		memcpy(to + len - 4, &tail, 4);
	} else if (len > 0) {
		to[0] = from[0];
		to[len / 2] = from[len / 2];
		to[len - 1] = from[len - 1];
	}
}

/* For 16 bytes and more. The last two parts may overlap. */
static inline void
copy_by_16(char *to, const char *from, size_t len)
{
	for (size_t i = 0; i + 16 < len; i += 16)
		memcpy(to + i, from + i, 16);
	memcpy(to + len - 16, from + len - 16, 16);
}

/* Most of a line's pieces are short: a call of memcpy, which no line before has called lately, takes longer than their copy. */
static inline void
write_text(struct writer *w, const char *text, size_t len)
{
	if ((size_t)(w->end - w->p) < len) {
		w->full = true;
		return;
	}
	if (len <= 16)
		copy_short(w->p, text, len);
	else
		copy_by_16(w->p, text, len);
	w->p += len;
}

/* As varnishncsa escapes: backslash, quote and all that is not printable ASCII. */
void write_escaped(struct writer *, const char *b, const char *e);

/* At least `digits` digits, filled up with zeros; at most NUMBER_BYTES of them. */
void write_number(struct writer *, int64_t, unsigned digits);

#endif
