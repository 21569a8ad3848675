/*
 * A format of varnishncsa(1), compiled once: which log records to look at, and which steps write the line.
 *
 * A value that a record gives is kept in a slot. Matches say how records fill slots; steps say how slots become text.
 */
#ifndef FORMAT_H
#define FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The values that directives other than %{X}i, %{X}o, VCL_Log and VSL need. Those get slots from SLOT_FIRST_FREE on. */
enum slot {
	SLOT_REMOTE,
	SLOT_METHOD,
	SLOT_PATH,
	SLOT_QUERY,
	SLOT_PROTOCOL,
	SLOT_HOST,
	SLOT_BASIC_AUTH,
	SLOT_STATUS,
	SLOT_BYTES_IN,
	SLOT_BYTES_BODY,
	SLOT_BYTES_OUT,
	SLOT_TIME_START,
	SLOT_TIME_END,
	SLOT_TIME_FIRST_BYTE,
	SLOT_HITMISS,
	SLOT_HANDLING,
	SLOT_FIRST_FREE
};

/* With the matches of the fixed ones, fewer than 256 matches. */
#define FORMAT_SLOTS_MAX 240

/* What of a record goes into the slot. */
enum match_kind {
	MATCH_LINE,	/* all of it, without the white space at both ends */
	MATCH_FIELD,	/* its field `field`, from 1 */
	MATCH_URL,	/* the path, and from the question mark on the query: that is the next slot */
	MATCH_BASIC,	/* the credentials of a Basic authorization */
	MATCH_CALL,	/* VCL_call: hit or miss, and the handling */
	MATCH_RETURN	/* VCL_return: whether it is piped */
};

struct match {
	uint16_t key;		/* where it is: see format_key() */
	uint16_t key_len;	/* 0: any record matches */
	uint16_t slot;
	uint16_t group;		/* of the records that it is for: see format_group() */
	uint8_t kind;
	uint8_t field;
	char key_end;		/* the key's last byte, which few other records have there */
	bool last;		/* a later record overwrites an earlier one's value */
};

enum step_kind {
	STEP_VALUE,		/* the slot, escaped, or text if no record filled it */
	STEP_HOST,		/* the scheme and host of a request line */
	STEP_TEXT,		/* the format's own, more of it than fits in front of a step */
	STEP_USER,
	STEP_VXID,
	STEP_STRFTIME,		/* the start's second */
	STEP_SECONDS,		/* the start, in seconds with `decimals` and without a point */
	STEP_FRACTION,		/* those decimals alone */
	STEP_DURATION		/* from start to end */
};

struct second;

#define STEP_BEFORE 8

struct step {
	char before[STEP_BEFORE];	/* the format's own text in front of it */
	uint32_t text;		/* where it is: see format_text(); of STEP_STRFTIME, format_second() */
	uint32_t len;		/* of the text */
	uint16_t slot;
	uint8_t kind;
	uint8_t before_len;
	uint8_t decimals;
};

/* A tag's records are one group; of one tag, whose directives all ask for a name, those are whose names begin alike. */
#define TAGS 256
#define GROUPS (TAGS + 32)

/* The head of one allocation that has all of it, close together: few cache lines, and fewer pages. */
struct format {
	uint8_t of_group[GROUPS];	/* its first match; 0: no directive asks for it. A tag has one if any group of it has. */
	uint8_t parted;		/* the tag of several groups: request headers', or of none */
	uint16_t n_slots;
	bool needs_times;	/* as numbers */
	uint8_t after_len;
	char after[STEP_BEFORE];	/* the format's own text behind the last step */
	const struct step *steps;
	const struct step *steps_end;
	struct match matches[];	/* by group, between two of no group; then steps, keys and texts */
};

/* A name's first byte, and so its group, is the same in either case. */
static inline unsigned
format_group(const struct format *f, unsigned tag, char first)
{
	return (tag == f->parted ? TAGS + ((unsigned char)first & 31u) : tag);
}

/* Keys are padded to a multiple of so many bytes, and lie at such. */
#define KEY_UNIT 16

static inline size_t
format_key_room(size_t len)
{
	return ((len + KEY_UNIT - 1) / KEY_UNIT * KEY_UNIT);
}

/*
 * What a record must begin with. As many bytes behind it are the bits of each byte that may differ: those of its case,
 * and all in the padding.
 */
static inline const char *
format_key(const struct format *f, const struct match *m)
{
	return ((const char *)f + (size_t)m->key * KEY_UNIT);
}

static inline const char *
format_text(const struct format *f, const struct step *s)
{
	return ((const char *)f + s->text);
}

/* Shared by all threads, and changed by them. */
static inline struct second *
format_second(const struct format *f, const struct step *s)
{
	return ((struct second *)((uintptr_t)f + s->text));
}

#endif
