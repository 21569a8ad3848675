#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "record.h"
#include "second.h"
#include "writer.h"

/* Ten digits of seconds, and the point in front of the decimals. */
#define STAMP_BEGINS 11

/* Digits to a number, eight at a time: D. Lemire, "Quickly parsing eight digits" (2018). False if one is none. */
static inline bool
read_8_digits(uint64_t v, uint64_t *n)
{
	v -= EACH_BYTE('0');
	if (((v | (v + EACH_BYTE(0x7f - 9))) & EACH_BYTE(0x80)) != 0)
		return (false);
	v = v * 10 + (v >> 8);
	*n = (((v & 0x000000ff000000ff) * 0x000f424000000064) + ((v >> 16 & 0x000000ff000000ff) * 0x0000271000000001)) >> 32;
	return (true);
}

/* The last `len` of a word's eight bytes, and zeros in front of them. */
static inline uint64_t
last_digits(uint64_t v, unsigned len)
{
	unsigned others = 8 * (8 - len);

	return ((v >> others << others) | (EACH_BYTE('0') & (((uint64_t)1 << others) - 1)));
}

/*
 * Ten digits of seconds and six decimals are, as microseconds, an integer below 2^53: one division rounds as strtod
 * does. A stamp of another shape is of other times, or one that was cut.
 */
double
stamp_read(const struct span *s)
{
	uint64_t seconds, rest, micros;
	char *end;
	double d;

	if (s == NULL)
		return (NAN);
	if (likely(s->end - s->begin == 17 && s->begin[10] == '.' && read_8_digits(load8(s->begin), &seconds) &&
	    read_8_digits(last_digits(load8(s->begin + 2), 2), &rest) && read_8_digits(last_digits(load8(s->begin + 9), 6), &micros)))
		return ((double)((seconds * 100 + rest) * 1000000 + micros) / 1e6);
	/* The text ends in white space or NUL. */
	d = strtod(s->begin, &end);
	return (end == s->end ? d : NAN);
}

/* Zeros if it is of another shape: no stamp begins so. */
static inline void
stamp_begin(const struct span *stamp, uint64_t begin[2])
{
	bool is_usual = stamp->end - stamp->begin >= STAMP_BEGINS && stamp->begin[STAMP_BEGINS - 1] == '.';

	begin[0] = is_usual ? load8(stamp->begin) : 0;
	begin[1] = is_usual ? load8(stamp->begin + STAMP_BEGINS - 8) : 0;
}

/* Acquire: having read anything of a later writer's, its sequence is read behind it. */
static inline uint64_t
load(const uint64_t *word)
{
	return (__atomic_load_n(word, __ATOMIC_ACQUIRE));
}

static inline bool
recall(const struct second *k, const uint64_t begin[2], uint64_t text[SECOND_TEXT_BYTES / 8], uint32_t *len)
{
	uint32_t sequence = __atomic_load_n(&k->sequence, __ATOMIC_ACQUIRE);

	*len = __atomic_load_n(&k->len, __ATOMIC_ACQUIRE);
	if (unlikely(load(&k->stamp[0]) != begin[0] || load(&k->stamp[1]) != begin[1]))
		return (false);
	for (unsigned i = 0; i < (*len + 7) / 8; i++)
		text[i] = load(&k->text[i]);
	return (sequence % 2 == 0 && __atomic_load_n(&k->sequence, __ATOMIC_RELAXED) == sequence);
}

/* Not if another thread is at it. */
static void
keep(struct second *k, const uint64_t begin[2], const uint64_t text[SECOND_TEXT_BYTES / 8], uint32_t len)
{
	uint32_t sequence = __atomic_load_n(&k->sequence, __ATOMIC_RELAXED);

	if (sequence % 2 == 1 ||
	    !__atomic_compare_exchange_n(&k->sequence, &sequence, sequence + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	/* Release: whoever reads one of these, reads the odd sequence behind it. */
	__atomic_store_n(&k->len, len, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < 2; i++)
		__atomic_store_n(&k->stamp[i], begin[i], __ATOMIC_RELEASE);
	for (unsigned i = 0; i < SECOND_TEXT_BYTES / 8; i++)
		__atomic_store_n(&k->text[i], text[i], __ATOMIC_RELEASE);
	__atomic_store_n(&k->sequence, sequence + 2, __ATOMIC_RELEASE);
}

static bool __attribute__((noinline, cold))
make(struct second *k, const struct span *stamp, const uint64_t begin[2], uint64_t text[SECOND_TEXT_BYTES / 8], uint32_t *len)
{
	double start = stamp_read(stamp);
	time_t second = (time_t)start;
	struct tm tm;

	if (isnan(start))
		return (false);
	if ((double)second > start)
		second--;
	memset(text, 0, SECOND_TEXT_BYTES);
	*len = (uint32_t)strftime((char *)text, SECOND_TEXT_BYTES, k->format, localtime_r(&second, &tm));
	if (begin[0] != 0)
		keep(k, begin, text, *len);
	return (true);
}

bool
second_write(struct second *k, const struct span *stamp, struct writer *w)
{
	uint64_t begin[2], text[SECOND_TEXT_BYTES / 8 + SLACK / 8];
	uint32_t len;

	if (stamp == NULL)
		return (false);
	stamp_begin(stamp, begin);
	if (unlikely(begin[0] == 0 || !recall(k, begin, text, &len)) && !make(k, stamp, begin, text, &len))
		return (false);
	write_padded(w, (const char *)text, len);
	return (true);
}
