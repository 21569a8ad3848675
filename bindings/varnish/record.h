/* The log records of one client request, as its transaction's buffer holds them when the request has ended. */
#ifndef RECORD_H
#define RECORD_H

#include "bytes.h"
#include "format.h"

struct req;

/* What a slot was filled with; begin is NULL if nothing did. Points into the records, or at constant text. */
struct span {
	const char *begin;
	const char *end;
};

/* NULL if nothing filled it. */
static inline const struct span *
slot_text(const struct span *slots, unsigned slot)
{
	return (slots[slot].begin == NULL ? NULL : &slots[slot]);
}

/* Where the records that varnishd makes only after the request's end are made here. */
struct late_records {
	char number[6][20];			/* each number of the account alone */
	char account[6 * 21 + SLACK];		/* all six, as the record has them */
};

/*
 * Fills the format's slots, of which there are `n_slots`. `midst` is where the log ended at some time of this transaction, or NULL.
 * False if the buffer no longer begins where the transaction does: part of the records have gone to the log, and what they said is not
 * known here.
 */
bool records_read(const struct format *, const struct req *, const uint32_t *midst, struct late_records *, struct span *slots);

#endif
