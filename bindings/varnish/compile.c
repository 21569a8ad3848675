/*
 * The compiler of formats. What varnishncsa refuses is refused, so that a format means the same to both; the reasons
 * name the directive.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/cache.h"

#include "bytes.h"
#include "compile.h"
#include "format.h"
#include "pack.h"
#include "second.h"
#include "tags.h"

/* varnishncsa takes no longer name between braces. */
#define NAME_MAX_BYTES 254

struct compiler {
	char *why;
	size_t why_size;
	struct parts parts;
	unsigned rules_room;
	unsigned drafts_room;
	bool needed[SLOT_FIRST_FREE];
	bool failed;
};

static void v_printflike_(2, 3)
fail(struct compiler *c, const char *text, ...)
{
	va_list args;

	if (c->failed)
		return;
	c->failed = true;
	va_start(args, text);
	(void)vsnprintf(c->why, c->why_size, text, args);
	va_end(args);
}

static char *
keep(struct compiler *c, const char *text, size_t len)
{
	char *copy = strndup(text, len);

	if (copy == NULL)
		fail(c, "out of memory");
	return (copy);
}

/* Room for one more of `n` things of `size` bytes. */
static void *
grow(struct compiler *c, void *things, unsigned n, unsigned *room, size_t size)
{
	void *more;

	if (n < *room)
		return (things);
	more = realloc(things, (*room * 2 + 16) * size);
	if (more == NULL) {
		fail(c, "out of memory");
		return (NULL);
	}
	*room = *room * 2 + 16;
	return (more);
}

static struct draft *
append_step(struct compiler *c, enum step_kind kind)
{
	struct draft *more = grow(c, c->parts.drafts, c->parts.n_drafts, &c->drafts_room, sizeof *more);

	if (more == NULL)
		return (NULL);
	c->parts.drafts = more;
	more += c->parts.n_drafts++;
	memset(more, 0, sizeof *more);
	more->step.kind = kind;
	return (more);
}

static void
set_text(struct compiler *c, struct draft *d, const char *text, size_t len)
{
	d->text = keep(c, text, len);
	d->step.len = len;
}

static void
flush_literal(struct compiler *c)
{
	struct draft *d = append_step(c, STEP_TEXT);

	if (d == NULL)
		return;
	set_text(c, d, c->parts.literal, c->parts.literal_len);
	c->parts.literal_len = 0;
}

static struct draft *
add_step(struct compiler *c, enum step_kind kind)
{
	struct draft *d;

	if (c->parts.literal_len > STEP_BEFORE)
		flush_literal(c);
	d = append_step(c, kind);
	if (d == NULL)
		return (NULL);
	memcpy(d->step.before, c->parts.literal, c->parts.literal_len);
	d->step.before_len = c->parts.literal_len;
	c->parts.literal_len = 0;
	return (d);
}

static void
add_text(struct compiler *c, enum step_kind kind, uint16_t slot, const char *text)
{
	struct draft *d = add_step(c, kind);

	if (d == NULL)
		return;
	d->step.slot = slot;
	set_text(c, d, text, strlen(text));
}

static void
add_rule(struct compiler *c, struct rule r)
{
	struct rule *more = grow(c, c->parts.rules, c->parts.n_rules, &c->rules_room, sizeof *more);

	if (more == NULL)
		return;
	c->parts.rules = more;
	if (r.key != NULL) {
		r.match.key_len = strlen(r.key);
		r.match.key_end = r.key[r.match.key_len - 1];
		r.key = keep(c, r.key, r.match.key_len);
	}
	c->parts.rules[c->parts.n_rules++] = r;
}

/* What fills the slots of fixed meaning, as varnishncsa reads the log in client mode. */
static const struct rule fixed[] = {
	{ .match = { .slot = SLOT_REMOTE, .group = SLT_ReqStart, .kind = MATCH_FIELD, .field = 1 } },
	{ .match = { .slot = SLOT_REMOTE, .group = SLT_BackendOpen, .kind = MATCH_FIELD, .field = 3, .last = true } },
	{ .match = { .slot = SLOT_METHOD, .group = SLT_ReqMethod, .kind = MATCH_LINE } },
	{ .match = { .slot = SLOT_PATH, .group = SLT_ReqURL, .kind = MATCH_URL } },
	{ .match = { .slot = SLOT_PROTOCOL, .group = SLT_ReqProtocol, .kind = MATCH_LINE } },
	{ .match = { .slot = SLOT_HOST, .group = SLT_ReqHeader, .kind = MATCH_LINE }, .key = "Host:" },
	{ .match = { .slot = SLOT_BASIC_AUTH, .group = SLT_ReqHeader, .kind = MATCH_BASIC }, .key = "Authorization:" },
	{ .match = { .slot = SLOT_STATUS, .group = SLT_RespStatus, .kind = MATCH_LINE, .last = true } },
	{ .match = { .slot = SLOT_BYTES_IN, .group = SLT_ReqAcct, .kind = MATCH_FIELD, .field = 3 } },
	{ .match = { .slot = SLOT_BYTES_IN, .group = SLT_PipeAcct, .kind = MATCH_FIELD, .field = 3 } },
	{ .match = { .slot = SLOT_BYTES_BODY, .group = SLT_ReqAcct, .kind = MATCH_FIELD, .field = 5 } },
	{ .match = { .slot = SLOT_BYTES_OUT, .group = SLT_ReqAcct, .kind = MATCH_FIELD, .field = 6 } },
	{ .match = { .slot = SLOT_BYTES_OUT, .group = SLT_PipeAcct, .kind = MATCH_FIELD, .field = 4 } },
	{ .match = { .slot = SLOT_TIME_START, .group = SLT_Timestamp, .kind = MATCH_FIELD, .field = 1 }, .key = "Start:" },
	{ .match = { .slot = SLOT_TIME_END, .group = SLT_Timestamp, .kind = MATCH_FIELD, .field = 1 }, .key = "Resp:" },
	{ .match = { .slot = SLOT_TIME_END, .group = SLT_Timestamp, .kind = MATCH_FIELD, .field = 1 }, .key = "PipeSess:" },
	/* VCL can make the last two here, with std.timestamp(). */
	{ .match = { .slot = SLOT_TIME_END, .group = SLT_Timestamp, .kind = MATCH_FIELD, .field = 1 }, .key = "BerespBody:" },
	{ .match = { .slot = SLOT_TIME_FIRST_BYTE, .group = SLT_Timestamp, .kind = MATCH_FIELD, .field = 2 }, .key = "Process:" },
	{ .match = { .slot = SLOT_TIME_FIRST_BYTE, .group = SLT_Timestamp, .kind = MATCH_FIELD, .field = 2 }, .key = "Pipe:" },
	{ .match = { .slot = SLOT_TIME_FIRST_BYTE, .group = SLT_Timestamp, .kind = MATCH_FIELD, .field = 2 }, .key = "Beresp:" },
	{ .match = { .slot = SLOT_HITMISS, .group = SLT_VCL_call, .kind = MATCH_CALL } },
	{ .match = { .slot = SLOT_HITMISS, .group = SLT_VCL_return, .kind = MATCH_RETURN } },
};

/* One match fills both slots of a URL, as another both of how a request was handled: they are set together. */
static void
need(struct compiler *c, enum slot slot)
{
	if (slot == SLOT_HANDLING)
		slot = SLOT_HITMISS;
	if (slot == SLOT_QUERY)
		slot = SLOT_PATH;
	if (c->needed[slot])
		return;
	c->needed[slot] = true;
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		if (fixed[i].match.slot == slot)
			add_rule(c, fixed[i]);
}

static void
add_value(struct compiler *c, enum slot slot, const char *missing)
{
	need(c, slot);
	add_text(c, STEP_VALUE, slot, missing);
}

static void
add_own_value(struct compiler *c, struct rule r, const char *missing)
{
	if (c->parts.n_slots == FORMAT_SLOTS_MAX) {
		fail(c, "the format has more than %d values", FORMAT_SLOTS_MAX - SLOT_FIRST_FREE);
		return;
	}
	r.match.slot = c->parts.n_slots++;
	add_rule(c, r);
	add_text(c, STEP_VALUE, r.match.slot, missing);
}

static void
add_header(struct compiler *c, uint8_t tag, const char *name)
{
	char key[NAME_MAX_BYTES + 2];

	(void)snprintf(key, sizeof key, "%s:", name);
	add_own_value(c, (struct rule){ .match = { .group = tag, .kind = MATCH_LINE, .last = true }, .key = key }, "-");
}

static void
add_number_of_time(struct compiler *c, enum step_kind kind, uint8_t decimals)
{
	struct draft *d = add_step(c, kind);

	need(c, SLOT_TIME_START);
	c->parts.needs_times = true;
	if (kind == STEP_DURATION)
		need(c, SLOT_TIME_END);
	if (d != NULL)
		d->step.decimals = decimals;
}

static void
add_duration(struct compiler *c, const char *unit)
{
	if (strcmp(unit, "s") == 0)
		add_number_of_time(c, STEP_DURATION, 0);
	else if (strcmp(unit, "ms") == 0)
		add_number_of_time(c, STEP_DURATION, 3);
	else if (strcmp(unit, "us") == 0)
		add_number_of_time(c, STEP_DURATION, 6);
	else
		fail(c, "%%{%s}T: the unit is none of s, ms, us", unit);
}

#define CLF_TIME "[%d/%b/%Y:%T %z]"

static void
add_strftime(struct compiler *c, const char *format)
{
	char text[SECOND_TEXT_BYTES];
	time_t now = time(NULL);
	struct tm tm;

	/* Of all days the longest: a format that is taken today is taken on each. */
	(void)localtime_r(&now, &tm);
	tm.tm_mon = 8;
	tm.tm_mday = 30;
	tm.tm_wday = 3;
	tm.tm_yday = 272;
	if (strftime(text, sizeof text, format, &tm) == 0) {
		fail(c, "%%{%s}t: the time has no text, or one of more than %d bytes", format, SECOND_TEXT_BYTES - 1);
		return;
	}
	need(c, SLOT_TIME_START);
	add_text(c, STEP_STRFTIME, SLOT_TIME_START, format);
}

static void
add_start(struct compiler *c, const char *format)
{
	if (strcmp(format, "sec") == 0)
		add_number_of_time(c, STEP_SECONDS, 0);
	else if (strcmp(format, "msec") == 0)
		add_number_of_time(c, STEP_SECONDS, 3);
	else if (strcmp(format, "usec") == 0)
		add_number_of_time(c, STEP_SECONDS, 6);
	else if (strcmp(format, "msec_frac") == 0)
		add_number_of_time(c, STEP_FRACTION, 3);
	else if (strcmp(format, "usec_frac") == 0)
		add_number_of_time(c, STEP_FRACTION, 6);
	else
		add_strftime(c, format);
}

/* VSL:tag:record-prefix[field] */
static void
add_record(struct compiler *c, const char *name)
{
	char buf[NAME_MAX_BYTES + 2];
	struct rule r = { .match = { .kind = MATCH_LINE } };
	char *open, *prefix;
	size_t len = strlen(name);
	int tag;

	if (len == 0) {
		fail(c, "%%{VSL:}x: the tag is missing");
		return;
	}
	(void)snprintf(buf, sizeof buf - 1, "%s", name);
	if (buf[len - 1] == ']') {
		char *end;
		long field;

		open = strrchr(buf, '[');
		field = open == NULL ? 0 : strtol(open + 1, &end, 10);
		if (open == NULL || open == buf || end == open + 1 || end != buf + len - 1) {
			fail(c, "%%{VSL:%s}x: what is in brackets is not the number of a field", name);
			return;
		}
		if (field < 1 || field > 255) {
			fail(c, "%%{VSL:%s}x: a field's number is from 1 to 255", name);
			return;
		}
		r.match.kind = MATCH_FIELD;
		r.match.field = field;
		*open = '\0';
	}
	prefix = strchr(buf, ':');
	tag = tag_of_name(buf, prefix == NULL ? strlen(buf) : (size_t)(prefix - buf));
	if (tag == TAG_UNKNOWN || tag == TAG_AMBIGUOUS) {
		fail(c, "%%{VSL:%s}x: %s", name, tag == TAG_UNKNOWN ? "no log tag has this name" :
		    "several log tags have names that begin so");
		return;
	}
	if (tag_is_no_text(tag)) {
		fail(c, "%%{VSL:%s}x: records of this tag can hold control characters", name);
		return;
	}
	if (prefix != NULL) {
		r.key = prefix + 1;
		(void)strcat(prefix, ":");
	}
	r.match.group = tag;
	add_own_value(c, r, "-");
}

static void
add_extension(struct compiler *c, const char *name)
{
	if (strcmp(name, "Varnish:time_firstbyte") == 0)
		add_value(c, SLOT_TIME_FIRST_BYTE, "-");
	else if (strcmp(name, "Varnish:hitmiss") == 0)
		add_value(c, SLOT_HITMISS, "-");
	else if (strcmp(name, "Varnish:handling") == 0)
		add_value(c, SLOT_HANDLING, "-");
	else if (strcmp(name, "Varnish:side") == 0)
		c->parts.literal[c->parts.literal_len++] = 'c';
	else if (strcmp(name, "Varnish:vxid") == 0)
		(void)add_step(c, STEP_VXID);
	else if (strncmp(name, "VCL_Log:", 8) == 0) {
		char key[NAME_MAX_BYTES + 2];

		(void)snprintf(key, sizeof key, "%s:", name + 8);
		add_own_value(c, (struct rule){ .match = { .group = SLT_VCL_Log, .kind = MATCH_LINE }, .key = key, .exact = true }, "");
	} else if (strncmp(name, "VSL:", 4) == 0)
		add_record(c, name + 4);
	else
		fail(c, "%%{%s}x: there is no such value", name);
}

/* A directive with a name, from behind its opening brace; returns the last character of it. */
static const char *
compile_named(struct compiler *c, const char *p)
{
	char name[NAME_MAX_BYTES + 1];
	const char *end = p;

	for (int depth = 1; *end != '\0'; end++)
		if (*end == '{')
			depth++;
		else if (*end == '}' && --depth == 0)
			break;
	if (*end == '\0') {
		fail(c, "%%{%s: the brace is not closed", p);
		return (p);
	}
	if (end - p > NAME_MAX_BYTES) {
		fail(c, "%%{%.20s...}: the name is longer than %d bytes", p, NAME_MAX_BYTES);
		return (p);
	}
	memcpy(name, p, end - p);
	name[end - p] = '\0';
	end++;
	switch (*end) {
	case 'i': add_header(c, SLT_ReqHeader, name); break;
	case 'o': add_header(c, SLT_RespHeader, name); break;
	case 't': add_start(c, name); break;
	case 'T': add_duration(c, name); break;
	case 'x': add_extension(c, name); break;
	default: fail(c, "%%{%s}%.1s: there is no such directive", name, end);
	}
	return (end);
}

static const char *
compile_directive(struct compiler *c, const char *p)
{
	switch (*p) {
	case 'b': add_value(c, SLOT_BYTES_BODY, "-"); break;
	case 'D': add_duration(c, "us"); break;
	case 'h': add_value(c, SLOT_REMOTE, "-"); break;
	case 'H': add_value(c, SLOT_PROTOCOL, "HTTP/1.0"); break;
	case 'I': add_value(c, SLOT_BYTES_IN, "-"); break;
	case 'm': add_value(c, SLOT_METHOD, "-"); break;
	case 'O': add_value(c, SLOT_BYTES_OUT, "-"); break;
	case 'q': add_value(c, SLOT_QUERY, ""); break;
	case 's': add_value(c, SLOT_STATUS, "-"); break;
	case 't': add_start(c, CLF_TIME); break;
	case 'T': add_duration(c, "s"); break;
	case 'U': add_value(c, SLOT_PATH, "-"); break;
	case 'r':
		add_value(c, SLOT_METHOD, "-");
		c->parts.literal[c->parts.literal_len++] = ' ';
		need(c, SLOT_HOST);
		(void)add_step(c, STEP_HOST);
		add_value(c, SLOT_PATH, "");
		add_value(c, SLOT_QUERY, "");
		c->parts.literal[c->parts.literal_len++] = ' ';
		add_value(c, SLOT_PROTOCOL, "HTTP/1.0");
		break;
	case 'u':
		need(c, SLOT_BASIC_AUTH);
		(void)add_step(c, STEP_USER);
		break;
	case '{': return (compile_named(c, p + 1));
	default: fail(c, "%%%.1s: there is no such directive", p);
	}
	return (p);
}

static void
compile(struct compiler *c, const char *text)
{
	/* A request line's own two spaces take no more than its directive does. */
	c->parts.literal = malloc(strlen(text) + 1);
	if (c->parts.literal == NULL) {
		fail(c, "out of memory");
		return;
	}
	/* A directive that the text's end cuts short has failed, and there is nothing behind that end to look at. */
	for (const char *p = text; !c->failed && *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0') {
			p++;
			c->parts.literal[c->parts.literal_len++] = *p == 't' ? '\t' : *p == 'n' ? '\n' : *p;
		} else if (*p == '%' && p[1] == 'l') {
			p++;
			c->parts.literal[c->parts.literal_len++] = '-';
		} else if (*p == '%')
			p = compile_directive(c, p + 1);
		else
			c->parts.literal[c->parts.literal_len++] = *p;
	}
	if (c->parts.literal_len > STEP_BEFORE)
		flush_literal(c);
	if (c->parts.n_drafts == 0 && c->parts.literal_len == 0)
		fail(c, "the format is empty");
}

struct format *
format_compile(const char *text, char *why, size_t why_size)
{
	struct compiler c = { .why = why, .why_size = why_size, .parts.n_slots = SLOT_FIRST_FREE };
	struct format *f = NULL;

	compile(&c, text);
	if (!c.failed && (f = pack(&c.parts)) == NULL)
		fail(&c, "out of memory");
	for (unsigned i = 0; i < c.parts.n_drafts; i++)
		free(c.parts.drafts[i].text);
	for (unsigned i = 0; i < c.parts.n_rules; i++)
		free((char *)(uintptr_t)c.parts.rules[i].key);
	free(c.parts.literal);
	free(c.parts.drafts);
	free(c.parts.rules);
	return (f);
}

void
format_free(struct format *f)
{
	free(f);
}
