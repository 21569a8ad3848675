/*
 * One pass over the records: a tag that no directive asks for costs one look at a table. Each rule is varnishncsa's;
 * where it says "first" or "last", a header that occurs twice is meant.
 */
#include <string.h>
#include <strings.h>

#include "cache/cache.h"

#include "format.h"
#include "number.h"
#include "record.h"

/* As in the C locale, whatever the process has. */
static bool
is_space(char c)
{
	return (c == ' ' || (c >= '\t' && c <= '\r'));
}

static void
take_line(struct span *slot, const char *b, const char *e)
{
	while (b < e && is_space(*b))
		b++;
	while (e > b && is_space(e[-1]))
		e--;
	slot->begin = b;
	slot->end = e;
}

static void
take_field(struct span *slot, const char *b, const char *e, unsigned field)
{
	const char *start = b, *end = b;

	for (unsigned n = 0; n < field; n++) {
		while (b < e && is_space(*b))
			b++;
		start = b;
		while (b < e && !is_space(*b))
			b++;
		end = b;
	}
	if (end > start) {
		slot->begin = start;
		slot->end = end;
	}
}

static bool
is_word(const char *b, const char *e, const char *word)
{
	size_t len = strlen(word);

	return ((size_t)(e - b) == len && strncasecmp(b, word, len) == 0);
}

static void
take_constant(struct span *slot, const char *text)
{
	slot->begin = text;
	slot->end = text + strlen(text);
}

static void
take_handling(struct span *slots, const char *hitmiss, const char *handling)
{
	take_constant(&slots[SLOT_HITMISS], hitmiss);
	take_constant(&slots[SLOT_HANDLING], handling);
}

static void
take_call(struct span *slots, const char *b, const char *e)
{
	if (is_word(b, e, "recv"))
		take_handling(slots, "-", "-");
	else if (is_word(b, e, "hit"))
		take_handling(slots, "hit", "hit");
	else if (is_word(b, e, "miss"))
		take_handling(slots, "miss", "miss");
	else if (is_word(b, e, "pass"))
		take_handling(slots, "miss", "pass");
	else if (is_word(b, e, "synth"))
		take_handling(slots, "miss", "synth");
}

/* The bits in which eight bytes differ from those of a key, but for their case. */
static inline uint64_t
difference(const char *b, const char *key, const char *fold)
{
	uint64_t vb, vkey, vfold;

	memcpy(&vb, b, 8);
	memcpy(&vkey, key, 8);
	memcpy(&vfold, fold, 8);
	return ((vb ^ vkey) & ~vfold);
}

/* The last eight bytes may overlap. */
static inline bool
begins_with_key(const char *b, const struct match *m)
{
	size_t len = m->key_len, i;
	uint64_t differs = 0;

	if (len < 8) {
		for (i = 0; i < len; i++)
			differs |= (unsigned char)((b[i] ^ m->key[i]) & ~m->fold[i]);
		return (differs == 0);
	}
	for (i = 0; i + 8 < len; i += 8)
		differs |= difference(b + i, m->key + i, m->fold + i);
	return ((differs | difference(b + len - 8, m->key + len - 8, m->fold + len - 8)) == 0);
}

static inline const char *
after_spaces(const char *b, const char *e)
{
	while (b < e && *b == ' ')
		b++;
	return (b);
}

/* For a record that has the key's end, if there is a key. */
static void
apply(const struct match *m, const char *b, const char *e, struct span *slots)
{
	struct span *slot = &slots[m->slot];
	const char *question;

	if (slot->begin != NULL && !m->last && m->kind < MATCH_CALL)
		return;
	if (m->key != NULL) {
		if (!begins_with_key(b, m))
			return;
		b = after_spaces(b + m->key_len, e);
	}
	switch (m->kind) {
	case MATCH_LINE:
		take_line(slot, b, e);
		break;
	case MATCH_FIELD:
		take_field(slot, b, e, m->field);
		break;
	case MATCH_PATH:
		question = memchr(b, '?', e - b);
		take_line(slot, b, question == NULL ? e : question);
		break;
	case MATCH_QUERY:
		question = memchr(b, '?', e - b);
		take_line(slot, question == NULL ? e : question, e);
		break;
	case MATCH_BASIC:
		if (e - b >= 6 && strncasecmp(b, "basic ", 6) == 0)
			take_line(slot, b + 6, e);
		break;
	case MATCH_CALL:
		take_call(slots, b, e);
		break;
	case MATCH_RETURN:
		if (is_word(b, e, "pipe"))
			take_handling(slots, "miss", "pipe");
		break;
	default:
		break;
	}
}

/* Tells most records that a match is not for, without a look at its key. */
static inline bool
has_key_end(const struct match *m, const char *b, const char *e)
{
	return (m->key_len == 0 || ((size_t)(e - b) >= m->key_len && b[m->key_len - 1] == m->key_end));
}

static inline void
read_one(const struct format *f, unsigned tag, const char *b, const char *e, struct span *slots)
{
	while (e > b && e[-1] == '\0')
		e--;
	for (unsigned i = f->of_tag[tag]; i < f->of_tag[tag + 1]; i++) {
		const struct match *m = &f->matches[i];

		if (has_key_end(m, b, e))
			apply(m, b, e, slots);
	}
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

	for (unsigned i = f->of_tag[SLT_ReqAcct]; i < f->of_tag[SLT_ReqAcct + 1]; i++) {
		const struct match *m = &f->matches[i];

		if (m->kind == MATCH_FIELD && m->key == NULL && m->field <= 6) {
			char *number = late->number[m->field - 1];

			slots[m->slot].begin = number;
			slots[m->slot].end = number_write(number, account[m->field - 1]);
		} else {
			const char *end = write_account(late->account, account);

			if (has_key_end(m, late->account, end))
				apply(m, late->account, end, slots);
		}
	}
}

bool
records_read(const struct format *f, const struct req *req, struct late_records *late, struct span *slots)
{
	const struct vsl_log *log = req->vsl;
	const uint32_t *record = log->wlb;

	if (record == log->wlp || VSL_TAG(record) != SLT_Begin || record[1] != log->wid)
		return (false);
	memset(slots, 0, f->n_slots * sizeof *slots);
	for (; record < log->wlp; record = VSL_NEXT(record)) {
		unsigned tag = VSL_TAG(record);

		if (f->of_tag[tag] != f->of_tag[tag + 1] && record[1] == log->wid)
			read_one(f, tag, VSL_CDATA(record), VSL_CDATA(record) + VSL_LEN(record), slots);
	}
	/* varnishd logs these two when the request's task is over. */
	if (!(req->res_mode & RES_PIPE))
		read_account(f, &req->acct, late, slots);
	read_one(f, SLT_End, "", "", slots);
	return (true);
}
