/* The names of the log's tags, as -i of varnishlog and VSL: of varnishncsa take them. */
#ifndef TAGS_H
#define TAGS_H

#include <stdbool.h>
#include <stddef.h>

#define TAG_UNKNOWN   (-1)
#define TAG_AMBIGUOUS (-2)

/* The tag of this name, or of the only name that begins so; the case does not count. */
int tag_of_name(const char *name, size_t len);

/* Whether its records may hold any byte, or none is ever made: varnishncsa has no text for such. */
bool tag_is_no_text(int tag);

#endif
