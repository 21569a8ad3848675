#include "number.h"
#include "writer.h"

static inline bool
is_plain(unsigned char c)
{
	return (c >= 0x20 && c <= 0x7e && c != '"' && c != '\\');
}

static void
write_escape(struct writer *w, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[8] = { '\\' };

	switch (c) {
	case '"':
	case '\\': text[1] = (char)c; break;
	case '\n': text[1] = 'n'; break;
	case '\r': text[1] = 'r'; break;
	case '\t': text[1] = 't'; break;
	case '\v': text[1] = 'v'; break;
	default:
		text[1] = 'x';
		text[2] = hex[c >> 4];
		text[3] = hex[c & 15];
		write_few(w, text, 4);
		return;
	}
	write_few(w, text, 2);
}

static void __attribute__((noinline, cold))
write_with_escapes(struct writer *w, const char *b, const char *e)
{
	while (b < e) {
		const char *plain = b;

		while (b < e && is_plain((unsigned char)*b))
			b++;
		write_text(w, plain, (size_t)(b - plain));
		if (b < e)
			write_escape(w, (unsigned char)*b++);
	}
}

/* Each byte of the result is 0 where the byte is plain. */
static inline bytes16
not_plain(bytes16 v)
{
	return ((bytes16)((v - 0x20 > 0x7e - 0x20) | (v == '"') | (v == '\\')));
}

/* Copied while it is looked at; should something be not plain, it is written anew. */
void
write_escaped(struct writer *w, const char *b, const char *e)
{
	size_t len = (size_t)(e - b);
	bytes16 found = { 0 }, last;
	const char *from = b;
	char *to = w->p;

	if (!has_room(w, len))
		return;
	for (; e - from > 16; from += 16, to += 16) {
		bytes16 v = load16(from);

		memcpy(to, &v, sizeof v);
		found |= not_plain(v);
	}
	last = load16(from);
	memcpy(to, &last, sizeof last);
	if (likely(holds_nowhere(found, 16) && holds_nowhere(not_plain(last), (size_t)(e - from))))
		w->p += len;
	else
		write_with_escapes(w, b, e);
}

void
write_number(struct writer *w, int64_t n, unsigned digits)
{
	char text[NUMBER_BYTES];
	uint64_t magnitude = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
	size_t len = (size_t)(number_write(text, magnitude) - text);

	if (n < 0)
		write_text(w, "-", 1);
	for (; len < digits; digits--)
		write_text(w, "0", 1);
	write_text(w, text, len);
}
