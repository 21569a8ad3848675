/* The steps of a format, taken: slots become the text of a line. */
#ifndef LINE_H
#define LINE_H

#include <stdint.h>

#include "writer.h"

struct format;
struct span;

/* False if the records give no start time and the format has one: varnishncsa writes no line then. */
bool line_write(const struct format *, const struct span *, uint32_t vxid, struct writer *);

#endif
