/* From the text of a format of varnishncsa(1) to the format. */
#ifndef COMPILE_H
#define COMPILE_H

#include <stddef.h>

struct format;

/* NULL if the format cannot be had, with the reason in `why`. */
struct format *format_compile(const char *text, char *why, size_t why_size);
void format_free(struct format *);

#endif
