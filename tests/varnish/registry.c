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

static char paths[3][64];

static void *
work(void *seed)
{
	unsigned random = (unsigned)(uintptr_t)seed;
	char why[64];

	for (unsigned n = 0; n < 2000; n++) {
		struct producer *p = producer_acquire(paths[rand_r(&random) % 3], why, sizeof why);

		if (p == NULL) {
			(void)fprintf(stderr, "%s\n", why);
			exit(1);
		}
		__atomic_add_fetch(&p->tel->lines, 1, __ATOMIC_RELAXED);
		COUNT(p, log_lines);
		if (producer_counter(p, "log_lines") < 1 || producer_counter(p, "submitted") < 1 || producer_counter(p, "x") != -1)
			exit(1);
		if (n % 16 == 0)
			(void)usleep(1000);
		producer_release(p);
	}
	return (NULL);
}

int
main(int argc, char **argv)
{
	pthread_t threads[8];

	if (argc != 2)
		return (64);
	for (unsigned i = 0; i < 3; i++) {
		FILE *f;

		(void)snprintf(paths[i], sizeof paths[i], "%.50s/%u.json", argv[1], i);
		f = fopen(paths[i], "w");
		if (f == NULL || fputs("{}", f) < 0 || fclose(f) != 0)
			return (1);
	}
	for (uintptr_t i = 0; i < 8; i++)
		(void)pthread_create(&threads[i], NULL, work, (void *)i);
	for (unsigned i = 0; i < 8; i++)
		(void)pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 100 && __atomic_load_n(&producers, __ATOMIC_RELAXED) > 0; i++)
		(void)usleep(100000);
	(void)printf("registry: %d producers left\n", __atomic_load_n(&producers, __ATOMIC_RELAXED));
	return (__atomic_load_n(&producers, __ATOMIC_RELAXED) != 0);
}
