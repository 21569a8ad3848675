#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "format.h"
#include "line.h"
#include "record.h"

/* The log's stamps, as the numbers that varnishncsa reckons with. */
struct times {
	double start;
	double end;
};

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
static double
read_stamp(const struct span *s)
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

static bool
read_times(const struct format *f, const struct slots *slots, struct times *t)
{
	t->start = t->end = NAN;
	if (!f->needs_start)
		return (true);
	t->start = read_stamp(slot_text(slots, SLOT_TIME_START));
	t->end = read_stamp(slot_text(slots, SLOT_TIME_END));
	if (isnan(t->end))
		t->end = t->start;
	return (!isnan(t->start));
}

/* A second's text is the same for all requests that started in it: each thread keeps the last few. */
static void
write_strftime(struct writer *w, const struct step *s, double start)
{
	static _Thread_local struct {
		time_t second;
		uint32_t name;
		uint32_t len;	/* 0: nothing yet */
		char text[64];
	} kept[4];
	time_t second = (time_t)start;
	unsigned i = s->scale % 4;

	if ((double)second > start)
		second--;
	if (kept[i].len == 0 || kept[i].second != second || kept[i].name != s->scale) {
		struct tm tm;

		kept[i].second = second;
		kept[i].name = s->scale;
		kept[i].len = (uint32_t)strftime(kept[i].text, sizeof kept[i].text, s->text, localtime_r(&second, &tm));
	}
	write_text(w, kept[i].text, kept[i].len);
}

static void
write_time(struct writer *w, const struct step *s, const struct times *t)
{
	double whole;

	switch (s->kind) {
	case STEP_STRFTIME:
		write_strftime(w, s, t->start);
		break;
	case STEP_SECONDS:
		write_number(w, (int64_t)(t->start * s->scale), 0);
		break;
	case STEP_FRACTION:
		write_number(w, (int64_t)(modf(t->start, &whole) * s->scale), s->digits);
		break;
	default:
		write_number(w, (int64_t)((t->end - t->start) * s->scale), 0);
		break;
	}
}

static inline void
write_slot(struct writer *w, const struct slots *slots, const struct step *s)
{
	const struct span *text = slot_text(slots, s->slot);

	if (likely(text != NULL))
		write_escaped(w, text->begin, text->end);
	else
		write_text(w, s->text, s->len);
}

static void
write_host(struct writer *w, const struct span *host)
{
	if (host == NULL) {
		write_text(w, "http://localhost", 16);
		return;
	}
	if (host->end - host->begin < 7 || memcmp(host->begin, "http://", 7) != 0)
		write_few(w, "http://", 7);
	write_escaped(w, host->begin, host->end);
}

static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (c - 'A');
	if (c >= 'a' && c <= 'z')
		return (c - 'a' + 26);
	if (c >= '0' && c <= '9')
		return (c - '0' + 52);
	return (c == '+' ? 62 : c == '/' ? 63 : c == '=' ? 0 : -1);
}

/* The name in front of the colon. What varnishncsa makes of broken credentials is made here: "-" or a shorter text. */
static void
write_user(struct writer *w, const struct span *s)
{
	char text[129 + SLACK];
	size_t len = 0;
	const char *p;

	if (s == NULL) {
		write_text(w, "-", 1);
		return;
	}
	for (p = s->begin; p < s->end; ) {
		uint32_t group = 0;

		for (unsigned i = 0; i < 4 && p < s->end; i++) {
			int value = base64_value(*p++);

			if (value < 0) {
				write_text(w, "-", 1);
				return;
			}
			group = group << 6 | (uint32_t)value;
		}
		if (len + 3 > 127) {
			write_text(w, "-", 1);
			return;
		}
		text[len++] = (char)(group >> 16);
		text[len++] = (char)(group >> 8);
		text[len++] = (char)group;
	}
	text[len] = '\0';
	write_escaped(w, text, text + strcspn(text, ":"));
}

bool
line_write(const struct format *f, const struct slots *slots, uint32_t vxid, struct writer *w)
{
	struct times times;

	if (!read_times(f, slots, &times))
		return (false);
	for (const struct step *s = f->steps; s < f->steps_end; s++) {
		write_few(w, s->before, s->before_len);
		if (likely(s->kind == STEP_VALUE)) {
			write_slot(w, slots, s);
			continue;
		}
		switch (s->kind) {
		case STEP_HOST: write_host(w, slot_text(slots, SLOT_HOST)); break;
		case STEP_TEXT: write_text(w, s->text, s->len); break;
		case STEP_USER: write_user(w, slot_text(slots, SLOT_BASIC_AUTH)); break;
		case STEP_VXID: write_number(w, vxid, 0); break;
		default: write_time(w, s, &times); break;
		}
	}
	return (true);
}
