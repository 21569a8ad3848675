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

/* Eight bytes at once: whether all are plain. The sign of a byte of the sum tells; a byte above 0x7f has it already. */
static inline bool
are_plain(const char *b)
{
	const uint64_t ones = ~0ULL / 255, signs = ones * 0x80;
	uint64_t v, quote, backslash;

	memcpy(&v, b, sizeof v);
	quote = v ^ ones * '"';
	backslash = v ^ ones * '\\';
	/* A byte is 0 or below 0x20 where subtracting borrows; above 0x7e where adding one carries into the sign. */
	return ((((v - ones * 0x20) | (v + ones) | v | (quote - ones) | (backslash - ones)) & signs) == 0);
}

void
write_escaped(struct writer *w, const char *b, const char *e)
{
	while (b < e) {
		const char *plain = b;

		while (e - b >= 8 && are_plain(b))
			b += 8;
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
