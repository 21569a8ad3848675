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
	char text[4] = { '\\' };

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
		write_text(w, text, 4);
		return;
	}
	write_text(w, text, 2);
}

/* Sixteen bytes at once, by the compilers' own vectors: each byte of the result is 0 where the byte is plain. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));

static inline bytes16
not_plain(const char *b)
{
	bytes16 v;

	memcpy(&v, b, sizeof v);
	return ((bytes16)((v - 0x20 > 0x7e - 0x20) | (v == '"') | (v == '\\')));
}

/* Without a branch for what is in it: a host's other work leaves no branch of a line's predicted. The last bytes may overlap. */
static inline bool
are_all_plain(const char *b, const char *e)
{
	bytes16 found;
	uint64_t halves[2];

	if (e - b < 16) {
		char text[16];

		memset(text, ' ', sizeof text);
		copy_short(text, b, (size_t)(e - b) & 15);
		found = not_plain(text);
	} else {
		found = not_plain(e - 16);
		for (; e - b > 16; b += 16)
			found |= not_plain(b);
	}
	memcpy(halves, &found, sizeof halves);
	return ((halves[0] | halves[1]) == 0);
}

void
write_escaped(struct writer *w, const char *b, const char *e)
{
	if (are_all_plain(b, e)) {
		write_text(w, b, (size_t)(e - b));
		return;
	}
	while (b < e) {
		const char *plain = b;

		while (b < e && is_plain((unsigned char)*b))
			b++;
		write_text(w, plain, (size_t)(b - plain));
		if (b < e)
			write_escape(w, (unsigned char)*b++);
	}
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
