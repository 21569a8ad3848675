/*
 * The registry of producers from many threads at once, for the thread sanitizer: varnishd calls it from one thread, its own
 * threads and the requests' run beside that. libtel and varnishd are stood in for by what the sanitizer can see.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/cache.h"
#include "VSC_tel.h"

#include "producers.h"

struct tel_producer {
	uint64_t lines;
	void (*log)(int, const char *, void *);
	void *opaque;
};

static int producers;

/* How often the module's own thread has looked at the counters; of these tests' threads each says so of itself. */
static int ticks;
static __thread int of_the_test;

tel_producer *
tel_producer_new(const char *config, const tel_options *options, char *why, size_t why_size)
{
	tel_producer *p = calloc(1, sizeof *p);

	(void)config, (void)why, (void)why_size;
	p->log = options->log;
	p->opaque = options->opaque;
	__atomic_add_fetch(&producers, 1, __ATOMIC_RELAXED);
	return (p);
}

int
tel_producer_close(tel_producer *p, int timeout_ms)
{
	(void)timeout_ms;
	(void)usleep(1000);
	p->log(7, "closed", p->opaque);
	return (TEL_OK);
}

void
tel_producer_free(tel_producer *p)
{
	if (p == NULL)
		return;
	free(p);
	__atomic_sub_fetch(&producers, 1, __ATOMIC_RELAXED);
}

int
tel_get_stats(const tel_producer *p, tel_stats *out, size_t size)
{
	if (!of_the_test)
		__atomic_add_fetch(&ticks, 1, __ATOMIC_RELAXED);
	memset(out, 0, size);
	out->submitted = __atomic_load_n(&p->lines, __ATOMIC_RELAXED);
	return (TEL_OK);
}

void
VSL(enum VSL_tag_e tag, uint32_t vxid, const char *text, ...)
{
	(void)tag, (void)vxid, (void)text;
}

struct VSC_tel *
VSC_tel_New(struct vsmw_cluster *cluster, struct vsc_seg **segment, const char *name, ...)
{
	struct VSC_tel *counters = calloc(1, sizeof *counters);

	(void)cluster, (void)name;
	*segment = (struct vsc_seg *)counters;
	return (counters);
}

void
VSC_tel_Destroy(struct vsc_seg **segment)
{
	free(*segment);
	*segment = NULL;
}

/* The file of the last comes and goes. */
#define PATHS 4
static char paths[PATHS][64];

static bool
ticked(void)
{
	return (__atomic_load_n(&ticks, __ATOMIC_RELAXED) >= 3);
}

static bool
put(const char *path)
{
	FILE *f = fopen(path, "w");

	return (f != NULL && fputs("{}", f) >= 0 && fclose(f) == 0);
}

/* Acquires and releases, at least until the module's own thread has run beside it a few times. */
static void *
work(void *seed)
{
	unsigned random = (unsigned)(uintptr_t)seed;
	char why[512];

	of_the_test = 1;
	for (unsigned n = 0; n < 2000 || !ticked(); n++) {
		unsigned which = rand_r(&random) % PATHS;
		struct producer *p = producer_acquire(paths[which], which == PATHS - 1, why, sizeof why);
		struct tel_producer *tel;

		if (p == NULL) {
			(void)fprintf(stderr, "%s\n", why);
			exit(1);
		}
		tel = producer_tel(p);
		if (tel == NULL)
			COUNT(p, unavailable);
		else
			__atomic_add_fetch(&tel->lines, 1, __ATOMIC_RELAXED);
		COUNT(p, log_refused);
		if (producer_counter(p, "log_refused") < 1 || producer_counter(p, "x") != -1 ||
		    (tel != NULL && producer_counter(p, "submitted") < 1))
			exit(1);
		if (n % 16 == 0)
			(void)usleep(1000);
		producer_release(p);
		if (which == PATHS - 1 && rand_r(&random) % 2 == 0)
			(void)unlink(paths[which]);
		else if (which == PATHS - 1 && !put(paths[which]))
			exit(1);
	}
	return (NULL);
}

/* Holds one producer, so that the module's thread has something to look at, and one whose file comes only then. */
static bool
held_producers_are_seen(const char *folder)
{
	char late[64], why[512];
	struct producer *held, *waiting;
	bool made = false;

	(void)snprintf(late, sizeof late, "%.50s/late.json", folder);
	held = producer_acquire(paths[0], false, why, sizeof why);
	waiting = producer_acquire(late, true, why, sizeof why);
	if (held == NULL || waiting == NULL || producer_tel(waiting) != NULL || producer_acquire(late, false, why, sizeof why) != NULL)
		return (false);
	if (!put(late))
		return (false);
	for (unsigned i = 0; i < 600 && !(made && ticked()); i++) {
		(void)usleep(100000);
		made = producer_tel(waiting) != NULL;
	}
	producer_release(waiting);
	producer_release(held);
	return (made && ticked());
}

int
main(int argc, char **argv)
{
	pthread_t threads[8];
	bool seen;

	if (argc != 2)
		return (64);
	of_the_test = 1;
	for (unsigned i = 0; i < PATHS; i++) {
		(void)snprintf(paths[i], sizeof paths[i], "%.50s/%u.json", argv[1], i);
		if (!put(paths[i]))
			return (1);
	}
	for (uintptr_t i = 0; i < 8; i++)
		(void)pthread_create(&threads[i], NULL, work, (void *)i);
	seen = held_producers_are_seen(argv[1]);
	for (unsigned i = 0; i < 8; i++)
		(void)pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 100 && __atomic_load_n(&producers, __ATOMIC_RELAXED) > 0; i++)
		(void)usleep(100000);
	(void)printf("registry: %d producers left, looked at %d times by the module's own thread\n",
	    __atomic_load_n(&producers, __ATOMIC_RELAXED), __atomic_load_n(&ticks, __ATOMIC_RELAXED));
	return (!seen || __atomic_load_n(&producers, __ATOMIC_RELAXED) != 0);
}
