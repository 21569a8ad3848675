/*
 * The producers of this process. All objects of all VCLs that name the same file with the same content share one; it
 * ends when the last of them goes.
 */
#ifndef PRODUCERS_H
#define PRODUCERS_H

#include <stddef.h>
#include <stdint.h>

#include <tel.h>

struct VSC_tel;

struct producer {
	tel_producer *tel;
	struct VSC_tel *counters;
};

/* NULL if the configuration is wrong, with the reason in `why`. */
struct producer *producer_acquire(const char *path, char *why, size_t why_size);

/* Never waits for Kafka: a producer that nobody has any more delivers what it holds on a thread of its own. */
void producer_release(struct producer *);

/* A counter by its name, libtel's or this module's; -1 if there is none of that name. */
int64_t producer_counter(const struct producer *, const char *name);

#define COUNT(producer, counter) ((void)__atomic_fetch_add(&(producer)->counters->counter, 1, __ATOMIC_RELAXED))

#endif
