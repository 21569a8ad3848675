#include <string.h>
#include <strings.h>

#include "cache/cache.h"

#include "tags.h"

static const struct {
	const char *name;
	unsigned flags;
} tags[SLT__MAX] = {
#define SLTM(name, flags, short_text, long_text) [SLT_##name] = { #name, flags },
#include "tbl/vsl_tags.h"
};

int
tag_of_name(const char *name, size_t len)
{
	int found = TAG_UNKNOWN;

	for (int tag = 0; tag < SLT__MAX; tag++) {
		if (tags[tag].name == NULL || strncasecmp(name, tags[tag].name, len) != 0)
			continue;
		if (strlen(tags[tag].name) == len)
			return (tag);
		found = found == TAG_UNKNOWN ? tag : TAG_AMBIGUOUS;
	}
	return (found);
}

bool
tag_is_no_text(int tag)
{
	return (tags[tag].flags != 0);
}
