/*
 * The producers of this process. All objects of all VCLs that name the same file with the same content share one; it
 * ends when the last of them goes.
 */
#ifndef PRODUCERS_H
#define PRODUCERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tel.h>

struct VSC_tel;

struct producer {
	tel_producer *tel;	/* for producer_tel() alone */
	struct VSC_tel *counters;
	uint64_t others;	/* of the lines that libtel counts as submitted, those that are not log_lines */
};

/*
 * NULL if the configuration cannot be read or is wrong, with the reason in `why`. If the worker is `starting`, it is said
 * in the log instead, and the producer is made as soon as that has changed: there is no load that could be refused, only
 * a worker. It is to be released once for each time.
 */
struct producer *producer_acquire(const char *path, bool starting, char *why, size_t why_size);

/* NULL as long as the configuration cannot be had. */
static inline tel_producer *
producer_tel(const struct producer *p)
{
	return (__atomic_load_n(&p->tel, __ATOMIC_ACQUIRE));
}

/* Never waits for Kafka: a producer that nobody has any more delivers what it holds on a thread of its own. */
void producer_release(struct producer *);

/* The configuration's file. */
const char *producer_path(const struct producer *);

/* A counter by its name, libtel's or this module's; -1 if there is none of that name. */
int64_t producer_counter(const struct producer *, const char *name);

/*
 * To be told what submit has said of each line, but of access lines only if it refused them: those are what libtel counts
 * less the others. A counter of their own would be one that all workers write to, with every request.
 */
static inline void
producer_count_other(struct producer *p, int result)
{
	if (result == TEL_OK || result == TEL_ERR_FULL || result == TEL_ERR_TOO_LONG)
		(void)__atomic_fetch_add(&p->others, 1, __ATOMIC_RELAXED);
}

#define COUNT(producer, counter) ((void)__atomic_fetch_add(&(producer)->counters->counter, 1, __ATOMIC_RELAXED))

#endif
