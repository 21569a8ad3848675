/* From what the compiler has found in a format's text to the format itself, one block of memory. */
#ifndef PACK_H
#define PACK_H

#include "format.h"

/* A match, and the key that it will have. */
struct rule {
	struct match match;
	const char *key;	/* what the record must begin with; NULL: anything */
	bool exact;		/* the key's case counts */
};

/* A step, and the text that it will have. */
struct draft {
	struct step step;
	char *text;
};

struct parts {
	struct rule *rules;	/* of a rule's match, the group is the tag */
	struct draft *drafts;
	unsigned n_rules;
	unsigned n_drafts;
	unsigned n_slots;
	char *literal;		/* text that no step has yet; in the end no more than STEP_BEFORE of it */
	size_t literal_len;
	bool needs_times;
};

/* The rules are put in another order. NULL without memory. The result is freed with free(). */
struct format *pack(struct parts *);

#endif
