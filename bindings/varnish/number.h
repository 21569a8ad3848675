/* Numbers to text without printf's cost. */
#ifndef NUMBER_H
#define NUMBER_H

#include <stdint.h>

/* The longest text of a 64-bit number. */
#define NUMBER_BYTES 20

/* Writes `n` in decimal at `p`, which has room for NUMBER_BYTES; returns the end. */
static inline char *
number_write(char *p, uint64_t n)
{
	char digits[NUMBER_BYTES];
	unsigned len = 0;

	do
		digits[len++] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	while (len > 0)
		*p++ = digits[--len];
	return (p);
}

#endif
