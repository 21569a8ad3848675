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

#define FORMAT_SLOTS_MAX 256

/* What of a record goes into the slot. */
enum match_kind {
	MATCH_LINE,	/* all of it, without the white space at both ends */
	MATCH_FIELD,	/* its field `field`, from 1 */
	MATCH_URL,	/* the path, and from the question mark on the query: that is the next slot */
	MATCH_BASIC,	/* the credentials of a Basic authorization */
	MATCH_CALL,	/* VCL_call: hit or miss, and the handling */
	MATCH_RETURN	/* VCL_return: whether it is piped */
};

/*
 * `key` is what a record must begin with, `fold` the bits of each byte that may differ: those of its case, and all behind
 * the key's end, up to a multiple of 16.
 */
struct match {
	const char *key;
	const char *fold;
	uint16_t key_len;	/* 0: any record matches */
	uint16_t slot;
	uint8_t tag;
	uint8_t kind;
	uint8_t field;
	char key_end;		/* the key's last byte, which few other records have there */
	bool last;		/* a later record overwrites an earlier one's value */
	bool exact;		/* the key's case counts */
};

enum step_kind {
	STEP_VALUE,		/* the slot, escaped, or text if no record filled it */
	STEP_HOST,		/* the scheme and host of a request line */
	STEP_TEXT,		/* the format's own, more of it than fits in front of a step */
	STEP_USER,
	STEP_VXID,
	STEP_STRFTIME,		/* the start's second */
	STEP_SECONDS,		/* the start in units of `scale` to a second */
	STEP_FRACTION,		/* the start's fraction of a second in those units, `digits` of them */
	STEP_DURATION		/* from start to end in those units */
};

struct second;

#define STEP_BEFORE 8

struct step {
	char before[STEP_BEFORE];	/* the format's own text in front of it */
	union {
		const char *text;
		struct second *second;	/* of STEP_STRFTIME */
	};
	uint32_t len;
	uint32_t scale;
	uint16_t slot;
	uint8_t kind;
	uint8_t before_len;
	uint8_t digits;
};

/* All that it points at lies behind it in the same allocation, as a line needs it: few cache lines, and fewer pages. */
struct format {
	const struct match *matches;	/* by tag, between two of no record's tag */
	const struct step *steps;
	const struct step *steps_end;
	uint16_t n_slots;
	bool needs_times;	/* as numbers */
	uint16_t of_tag[256];	/* its first match; 0: no directive asks for it */
};

/* NULL if the format cannot be had, with the reason in `why`. */
struct format *format_compile(const char *text, char *why, size_t why_size);
void format_free(struct format *);

#endif
