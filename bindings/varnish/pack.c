/*
 * A format's parts, put where a request finds them with the least cache lines: the head first, then matches, steps, keys and texts.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"

#include "bytes.h"
#include "pack.h"
#include "second.h"

/* Not one that has a match for any of its records. */
static uint8_t
parted_tag(const struct rule *rules, unsigned n)
{
	for (; n > 0; rules++, n--)
		if (rules->match.group == SLT_ReqHeader && rules->match.key_len == 0)
			return (SLT__Bogus);
	return (SLT_ReqHeader);
}

/* Stable, so that the matches of a group are tried in the order of the table and the format. */
static void
order_by_group(struct rule *rules, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct rule r = rules[i];
		unsigned j = i;

		for (; j > 0 && rules[j - 1].match.group > r.match.group; j--)
			rules[j] = rules[j - 1];
		rules[j] = r;
	}
}

/* As strncasecmp in the C locale: a letter and the other one of its case are the same. */
static char *
put_key(char *to, const struct rule *r)
{
	size_t len = r->match.key_len, room = format_key_room(len);
	char *fold = to + room;

	memset(to, 0, room);
	memset(fold, 0xff, room);
	for (size_t i = 0; i < len; i++) {
		to[i] = r->key[i];
		fold[i] = !r->exact && (unsigned char)((to[i] | 0x20) - 'a') <= 'z' - 'a' ? 0x20 : 0;
	}
	return (fold + room);
}

static char *
put_text(char *to, const char *text, size_t len)
{
	memcpy(to, text, len);
	to[len] = '\0';
	return (to + len + 1);
}

/* A second has its format behind it, and cache lines of its own. */
static char *
put_second(char *to, const struct draft *d)
{
	struct second *second = (struct second *)to;

	memset(second, 0, sizeof *second);
	second->format = (char *)(second + 1);
	return (put_text((char *)(second + 1), d->text, d->step.len));
}

static char *
aligned(char *p, size_t to)
{
	return ((char *)(((uintptr_t)p + to - 1) / to * to));
}

struct format *
pack(struct parts *parts)
{
	size_t bytes = sizeof(struct format) + (parts->n_rules + 2) * sizeof(struct match) + parts->n_drafts * sizeof(struct step) +
	    2 * KEY_UNIT + SLACK;
	struct format *f;
	struct step *s;
	char *p;

	for (unsigned i = 0; i < parts->n_rules; i++)
		bytes += 2 * format_key_room(parts->rules[i].match.key_len);
	for (unsigned i = 0; i < parts->n_drafts; i++)
		bytes += parts->drafts[i].step.len + 1 + sizeof(struct second) + 64;
	f = aligned_alloc(64, (bytes + 63) / 64 * 64);
	if (f == NULL)
		return (NULL);
	memset(f, 0, sizeof *f);
	f->needs_times = parts->needs_times;
	f->n_slots = parts->n_slots;
	s = (struct step *)aligned((char *)&f->matches[parts->n_rules + 2], 8);
	p = aligned((char *)(s + parts->n_drafts), KEY_UNIT);
	f->parted = parted_tag(parts->rules, parts->n_rules);
	for (unsigned i = 0; i < parts->n_rules; i++) {
		struct match *m = &parts->rules[i].match;

		f->of_group[m->group] = 1;
		if (m->key_len > 0)
			m->group = format_group(f, m->group, parts->rules[i].key[0]);
	}
	order_by_group(parts->rules, parts->n_rules);
	f->matches[0] = f->matches[parts->n_rules + 1] = (struct match){ .group = SLT__Bogus };
	for (unsigned i = parts->n_rules; i > 0; i--) {
		f->matches[i] = parts->rules[i - 1].match;
		f->matches[i].key = (uint16_t)((p - (char *)f) / KEY_UNIT);
		f->of_group[f->matches[i].group] = i;
		p = put_key(p, &parts->rules[i - 1]);
	}
	f->steps = s;
	for (unsigned i = 0; i < parts->n_drafts; i++, s++) {
		*s = parts->drafts[i].step;
		if (s->kind == STEP_STRFTIME)
			p = aligned(p, 64);
		s->text = (uint32_t)(p - (char *)f);
		if (s->kind == STEP_STRFTIME)
			p = put_second(p, &parts->drafts[i]);
		else if (parts->drafts[i].text != NULL)
			p = put_text(p, parts->drafts[i].text, s->len);
	}
	f->steps_end = s;
	memcpy(f->after, parts->literal, parts->literal_len);
	f->after_len = parts->literal_len;
	return (f);
}
