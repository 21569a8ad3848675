#include <math.h>

#include "format.h"
#include "line.h"
#include "record.h"
#include "second.h"

/* The log's stamps, as the numbers that varnishncsa reckons with. */
struct times {
	double start;
	double end;
};

static bool
read_times(const struct span *slots, struct times *t)
{
	t->start = stamp_read(slot_text(slots, SLOT_TIME_START));
	t->end = stamp_read(slot_text(slots, SLOT_TIME_END));
	if (isnan(t->end))
		t->end = t->start;
	return (!isnan(t->start));
}

static void
write_time(struct writer *w, const struct step *s, const struct times *t)
{
	static const uint32_t powers[] = { 1, 10, 100, 1000, 10000, 100000, 1000000 };
	uint32_t scale = powers[s->decimals];
	double whole;

	if (s->kind == STEP_SECONDS)
		write_number(w, (int64_t)(t->start * scale), 0);
	else if (s->kind == STEP_FRACTION)
		write_number(w, (int64_t)(modf(t->start, &whole) * scale), s->decimals);
	else
		write_number(w, (int64_t)((t->end - t->start) * scale), 0);
}

static inline void
write_slot(struct writer *w, const struct format *f, const struct span *slots, const struct step *s)
{
	const struct span *text = slot_text(slots, s->slot);

	if (likely(text != NULL))
		write_escaped(w, text->begin, text->end);
	else
		write_padded(w, format_text(f, s), s->len);
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
line_write(const struct format *f, const struct span *slots, uint32_t vxid, struct writer *w)
{
	struct times times = { NAN, NAN };

	if (unlikely(f->needs_times) && !read_times(slots, &times))
		return (false);
	for (const struct step *s = f->steps; s < f->steps_end; s++) {
		write_few(w, s->before, s->before_len);
		if (likely(s->kind == STEP_VALUE))
			write_slot(w, f, slots, s);
		else if (s->kind == STEP_HOST)
			write_host(w, slot_text(slots, SLOT_HOST));
		else if (s->kind == STEP_USER)
			write_user(w, slot_text(slots, SLOT_BASIC_AUTH));
		else if (s->kind == STEP_STRFTIME) {
			if (!second_write(format_second(f, s), slot_text(slots, SLOT_TIME_START), w))
				return (false);
		} else if (s->kind == STEP_TEXT)
			write_padded(w, format_text(f, s), s->len);
		else if (s->kind == STEP_VXID)
			write_number(w, vxid, 0);
		else
			write_time(w, s, &times);
	}
	write_few(w, f->after, f->after_len);
	return (true);
}
