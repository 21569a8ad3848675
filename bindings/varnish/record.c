/*
 * The records are looked at once: a tag that no directive asks for costs one look at a table. Each rule is varnishncsa's; where it
 * says "first" or "last", a header that occurs twice is meant.
 */
#include <strings.h>

#include "cache/cache.h"

#include "format.h"
#include "number.h"
#include "record.h"

static inline void
fill(struct span *slots, unsigned slot, const char *b, const char *e)
{
	slots[slot] = (struct span){ b, e };
}

static inline void
take_line(struct span *slots, unsigned slot, const char *b, const char *e)
{
	while (b < e && unlikely(is_space(*b)))
		b++;
	while (e > b && unlikely(is_space(e[-1])))
		e--;
	fill(slots, slot, b, e);
}

static inline void
take_field(struct span *slots, unsigned slot, const char *b, const char *e, unsigned field)
{
	const char *end;

	b = skip_spaces(b, e);
	end = find_space(b, e);
	for (; unlikely(field > 1); field--) {
		b = skip_spaces(end, e);
		end = find_space(b, e);
	}
	if (end > b)
		fill(slots, slot, b, end);
}

static void
take_url(struct span *slots, unsigned slot, const char *b, const char *e)
{
	const char *question = find_byte(b, e, '?');

	take_line(slots, slot, b, question);
	take_line(slots, slot + 1, question, e);
}

static bool
is_word(const char *b, const char *e, const char *word)
{
	size_t len = strlen(word);

	return ((size_t)(e - b) == len && strncasecmp(b, word, len) == 0);
}

static void
take_constant(struct span *slots, unsigned slot, const char text[SLACK])
{
	fill(slots, slot, text, text + strlen(text));
}

/* What each call and return of VCL says of how the request is handled; "recv" begins anew. */
static const struct handling {
	const char *word;
	char hitmiss[SLACK];
	char handling[SLACK];
} calls[] = {
	{ "recv", "-", "-" },
	{ "hit", "hit", "hit" },
	{ "miss", "miss", "miss" },
	{ "pass", "miss", "pass" },
	{ "synth", "miss", "synth" },
}, returns[] = {
	{ "pipe", "miss", "pipe" },
};

static void
take_handling(struct span *slots, const struct handling *words, size_t n, const char *b, const char *e)
{
	for (; n > 0; words++, n--)
		if (is_word(b, e, words->word)) {
			take_constant(slots, SLOT_HITMISS, words->hitmiss);
			take_constant(slots, SLOT_HANDLING, words->handling);
		}
}

static inline bool
begins_with_key(const char *b, const struct format *f, const struct match *m)
{
	const char *key = format_key(f, m), *fold = key + format_key_room(m->key_len);
	size_t i = 0;
	bytes16 differs;

	do {
		differs = (load16(b + i) ^ load16(key + i)) & ~load16(fold + i);
		i += 16;
	} while (unlikely(i < m->key_len) && holds_nowhere((bytes16)(differs != 0), 16));
	return (holds_nowhere((bytes16)(differs != 0), 16));
}

/* The key's end tells most records that a match is not for, without a look at its key. */
static inline bool
is_for(const struct format *f, const struct match *m, const char *b, const char *e)
{
	return (m->key_len == 0 || ((size_t)(e - b) >= m->key_len && b[m->key_len - 1] == m->key_end &&
	    likely(begins_with_key(b, f, m))));
}

static void
apply_rare(const struct match *m, const char *b, const char *e, struct span *slots)
{
	switch (m->kind) {
	case MATCH_BASIC:
		if (e - b >= 6 && strncasecmp(b, "basic ", 6) == 0)
			take_line(slots, m->slot, b + 6, e);
		break;
	case MATCH_CALL:
		take_handling(slots, calls, sizeof calls / sizeof *calls, b, e);
		break;
	case MATCH_RETURN:
		take_handling(slots, returns, sizeof returns / sizeof *returns, b, e);
		break;
	default:
		break;
	}
}

static inline __attribute__((always_inline)) void
apply(const struct match *m, const char *b, const char *e, struct span *slots)
{
	if (!m->last && unlikely(slots[m->slot].begin != NULL) && m->kind < MATCH_CALL)
		return;
	if (m->key_len > 0)
		for (b += m->key_len; b < e && *b == ' '; b++)
			;
	if (likely(m->kind == MATCH_LINE))
		take_line(slots, m->slot, b, e);
	else if (m->kind == MATCH_FIELD)
		take_field(slots, m->slot, b, e, m->field);
	else if (m->kind == MATCH_URL)
		take_url(slots, m->slot, b, e);
	else
		apply_rare(m, b, e, slots);
}

static inline __attribute__((always_inline)) void
read_one(const struct format *f, unsigned tag, const char *b, const char *e, struct span *slots)
{
	unsigned group = format_group(f, tag, *b);

	for (const struct match *m = &f->matches[f->of_group[group]]; m->group == group; m++)
		if (is_for(f, m, b, e))
			apply(m, b, e, slots);
}

static inline bool
is_wanted(const struct format *f, const uint32_t *record)
{
	return (f->of_group[VSL_TAG(record)] != 0);
}

static inline __attribute__((always_inline)) void
read_record(const struct format *f, const uint32_t *record, unsigned wid, struct span *slots)
{
	const char *b = VSL_CDATA(record), *e = b + VSL_LEN(record);

	if (unlikely(record[1] != wid))
		return;
	while (e > b && e[-1] == '\0')
		e--;
	read_one(f, VSL_TAG(record), b, e, slots);
}

/* Not inlined, as few records come here: another copy of the code would lie between what most of them run through. */
static void __attribute__((noinline))
read_later(const struct format *f, const uint32_t *record, unsigned wid, struct span *slots)
{
	read_record(f, record, wid, slots);
}

/*
 * Where a record is, the one before it says: two ways through the log, the second from `midst` on, take less time than one.
 * What the second comes to waits until the first has come to its end, so that all are read in their order.
 */
static void
read_all(const struct format *f, const uint32_t *record, const uint32_t *midst, const uint32_t *end, unsigned wid,
    struct span *slots)
{
	const uint32_t *waiting[32], *second = midst;
	unsigned n = 0;

	for (; record < midst; record = VSL_NEXT(record)) {
		if (second < end && n < sizeof waiting / sizeof *waiting) {
			waiting[n] = second;
			n += is_wanted(f, second);
			second = VSL_NEXT(second);
		}
		if (is_wanted(f, record))
			read_record(f, record, wid, slots);
	}
	for (unsigned i = 0; i < n; i++)
		read_later(f, waiting[i], wid, slots);
	for (; second < end; second = VSL_NEXT(second))
		if (is_wanted(f, second))
			read_later(f, second, wid, slots);
}

static const char *
write_account(char *p, const uint64_t account[6])
{
	for (unsigned i = 0; i < 6; i++) {
		if (i > 0)
			*p++ = ' ';
		p = number_write(p, account[i]);
	}
	return (p);
}

/* Most formats want one number of the account, or two: no need to write six and look for them. */
static void
read_account(const struct format *f, const struct acct_req *a, struct late_records *late, struct span *slots)
{
	const uint64_t account[6] = { a->req_hdrbytes, a->req_bodybytes, a->req_hdrbytes + a->req_bodybytes,
	    a->resp_hdrbytes, a->resp_bodybytes, a->resp_hdrbytes + a->resp_bodybytes };

	for (const struct match *m = &f->matches[f->of_group[SLT_ReqAcct]]; m->group == SLT_ReqAcct; m++) {
		if (m->kind != MATCH_FIELD || m->key_len > 0 || m->field > 6) {
			read_one(f, SLT_ReqAcct, late->account, write_account(late->account, account), slots);
			return;
		}
		char *number = late->number[m->field - 1];

		fill(slots, m->slot, number, number_write(number, account[m->field - 1]));
	}
}

/*
 * The log's buffer and the workspace behind it, with other things in between, are one piece of memory (Req_New of varnishd):
 * that is what a text at the buffer's very end has for its slack.
 */
static bool
has_slack(const struct req *req)
{
	const char *end = (const char *)req->vsl->wlp, *buffer = (const char *)req->vsl->wle;

	return (end + SLACK <= (buffer <= req->ws->s ? req->ws->e : buffer));
}

bool
records_read(const struct format *f, const struct req *req, const uint32_t *midst, struct late_records *late,
    struct span *slots)
{
	const struct vsl_log *log = req->vsl;
	const uint32_t *record = log->wlb, *end = log->wlp;
	const unsigned wid = log->wid;

	if (record == end || VSL_TAG(record) != SLT_Begin || record[1] != wid || !has_slack(req))
		return (false);
	for (unsigned i = 0; i < f->n_slots; i++) {
		slots[i] = (struct span){ NULL, NULL };
		NO_CALL;
	}
	read_all(f, record, midst > record && midst <= end ? midst : end, end, wid, slots);
	/* varnishd logs these two when the request's task is over. */
	if (f->of_group[SLT_ReqAcct] != 0 && !(req->res_mode & RES_PIPE))
		read_account(f, &req->acct, late, slots);
	if (unlikely(f->of_group[SLT_End] != 0))
		read_one(f, SLT_End, late->account, late->account, slots);
	return (true);
}
