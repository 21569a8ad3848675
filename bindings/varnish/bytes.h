/*
 * Texts by words of 8 and 16 bytes, where the next byte of most is like the one before: a request leaves little of a line's
 * code and of what its branches did in the processor, so that fewer branches are worth more than fewer bytes.
 *
 * Whatever is called a text here has SLACK bytes behind it that can be read, whatever they are.
 */
#ifndef BYTES_H
#define BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SLACK 16

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* In a loop that the compiler would make a call of the C library: for a few bytes, that takes longer to find. */
#define NO_CALL __asm__ volatile ("")

/* The compilers' own vectors; a comparison gives 0xff in each byte where it holds. */
typedef unsigned char bytes16 __attribute__((vector_size(16)));

static inline bytes16
load16(const char *b)
{
	bytes16 v;

	memcpy(&v, b, sizeof v);
	return (v);
}

/* Whether no byte of a comparison's first `len`, 0 to 16, says that it holds. */
static inline bool
holds_nowhere(bytes16 v, size_t len)
{
#ifdef __SSE2__
	return ((__builtin_ia32_pmovmskb128((char __attribute__((vector_size(16))))v) & ((1u << len) - 1)) == 0);
#else
	uint64_t halves[2];

	memcpy(halves, &v, sizeof halves);
	halves[0] = le64toh(halves[0]);
	halves[1] = le64toh(halves[1]);
	if (len < 8) {
		halves[1] = 0;
		halves[0] &= ((uint64_t)1 << 8 * len) - 1;
	} else if (len < 16)
		halves[1] &= ((uint64_t)1 << 8 * (len - 8)) - 1;
	return ((halves[0] | halves[1]) == 0);
#endif
}

/* As in the C locale, whatever the process has. */
static inline bool
is_space(char c)
{
	return (c == ' ' || (c >= '\t' && c <= '\r'));
}

#define EACH_BYTE(x) (~(uint64_t)0 / 255 * (unsigned char)(x))

/* The highest bit of each byte that is less than n, 1 to 128; right up to the first such byte. S. E. Anderson, Bit Twiddling Hacks. */
static inline uint64_t
bytes_below(uint64_t v, unsigned char n)
{
	return ((v - EACH_BYTE(n)) & ~v & EACH_BYTE(0x80));
}

static inline uint64_t
load8(const char *b)
{
	uint64_t v;

	memcpy(&v, b, sizeof v);
	return (le64toh(v));
}

/* The first byte in b to e that is `c`, or e. */
static inline const char *
find_byte(const char *b, const char *e, char c)
{
	for (; b < e; b += 8) {
		uint64_t hits = bytes_below(load8(b) ^ EACH_BYTE(c), 1);

		if (hits != 0) {
			b += __builtin_ctzll(hits) / 8;
			break;
		}
	}
	return (b < e ? b : e);
}

/* The first white space in b to e, or e. */
static inline const char *
find_space(const char *b, const char *e)
{
	while (b < e) {
		uint64_t hits = bytes_below(load8(b), ' ' + 1);

		if (hits == 0) {
			b += 8;
			continue;
		}
		b += __builtin_ctzll(hits) / 8;
		if (likely(is_space(*b)))
			break;
		b++;
	}
	return (b < e ? b : e);
}

static inline const char *
skip_spaces(const char *b, const char *e)
{
	while (b < e && is_space(*b))
		b++;
	return (b);
}

#endif
