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

static bool
read_digits(const char *b, const char *e, uint64_t *n)
{
	*n = 0;
	for (; b < e; b++) {
		if (*b < '0' || *b > '9')
			return (false);
		*n = *n * 10 + (uint64_t)(*b - '0');
	}
	return (true);
}

/*
 * Up to ten digits of seconds and six decimals are, as microseconds, an integer below 2^53: one division rounds as strtod
 * does. A stamp of another shape is one that was cut.
 */
static double
read_stamp(const struct span *s)
{
	uint64_t seconds, micros;
	char *end;
	double d;

	if (s->begin == NULL)
		return (NAN);
	if (s->end - s->begin > 7 && s->end - s->begin < 18 && s->end[-7] == '.' &&
	    read_digits(s->begin, s->end - 7, &seconds) && read_digits(s->end - 6, s->end, &micros))
		return ((double)(seconds * 1000000 + micros) / 1e6);
	/* The text ends in white space or NUL. */
	d = strtod(s->begin, &end);
	return (end == s->end ? d : NAN);
}

static bool
read_times(const struct format *f, const struct span *slots, struct times *t)
{
	t->start = t->end = NAN;
	if (!f->needs_start)
		return (true);
	t->start = read_stamp(&slots[SLOT_TIME_START]);
	t->end = read_stamp(&slots[SLOT_TIME_END]);
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
		uint32_t cache;
		uint32_t len;	/* 0: nothing yet */
		char text[64];
	} kept[4];
	time_t second = (time_t)start;
	unsigned i = s->cache % 4;

	if ((double)second > start)
		second--;
	if (kept[i].len == 0 || kept[i].second != second || kept[i].cache != s->cache) {
		struct tm tm;

		kept[i].second = second;
		kept[i].cache = s->cache;
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

static void
write_slot(struct writer *w, const struct span *s, const char *missing, size_t missing_len)
{
	if (s->begin != NULL)
		write_escaped(w, s->begin, s->end);
	else
		write_text(w, missing, missing_len);
}

static void
write_request_line(struct writer *w, const struct span *slots)
{
	const struct span *host = &slots[SLOT_HOST];

	write_slot(w, &slots[SLOT_METHOD], "-", 1);
	write_text(w, " ", 1);
	if (host->begin == NULL)
		write_text(w, "http://localhost", 16);
	else {
		if (host->end - host->begin < 7 || memcmp(host->begin, "http://", 7) != 0)
			write_text(w, "http://", 7);
		write_escaped(w, host->begin, host->end);
	}
	write_slot(w, &slots[SLOT_PATH], "", 0);
	write_slot(w, &slots[SLOT_QUERY], "", 0);
	write_text(w, " ", 1);
	write_slot(w, &slots[SLOT_PROTOCOL], "HTTP/1.0", 8);
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
	char text[129];
	size_t len = 0;
	const char *p = s->begin;

	if (p == NULL) {
		write_text(w, "-", 1);
		return;
	}
	while (p < s->end) {
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
line_write(const struct format *f, const struct span *slots, uint32_t vxid, struct writer *w)
{
	struct times times;

	if (!read_times(f, slots, &times))
		return (false);
	for (const struct step *s = f->steps; s < f->steps + f->n_steps; s++) {
		write_text(w, s->before, s->before_len);
		switch (s->kind) {
		case STEP_NOTHING: break;
		case STEP_VALUE: write_slot(w, &slots[s->slot], s->text, s->len); break;
		case STEP_REQUEST_LINE: write_request_line(w, slots); break;
		case STEP_USER: write_user(w, &slots[SLOT_BASIC_AUTH]); break;
		case STEP_VXID: write_number(w, vxid, 0); break;
		default: write_time(w, s, &times); break;
		}
	}
	return (true);
}
