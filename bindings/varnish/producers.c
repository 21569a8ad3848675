#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/cache.h"
#include "VSC_tel.h"

#include "config_file.h"
#include "producers.h"

/* How long a producer that nobody has any more may go on delivering. */
#define DRAIN_MS 30000

struct entry {
	struct producer producer;	/* first: the handle is the entry */
	char *path;
	char *config;
	unsigned users;
	struct vsc_seg *segment;
	VTAILQ_ENTRY(entry) list;
};

/* Of the process, not of a VCL: the module stays loaded (-z nodelete). */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static VTAILQ_HEAD(, entry) entries = VTAILQ_HEAD_INITIALIZER(entries);
static bool mirror_runs;

/* What libtel counts and varnishstat shows. */
#define MIRRORED(X) \
	X(submitted) X(delivered) X(failed) X(dropped_full) X(dropped_too_long) X(dropped_rate) X(sampled_out) \
	X(unknown_client) X(malformed) X(sanitized) X(in_flight) X(oldest_undelivered_ms) X(clients) X(clients_rejected)
#define NOT_MIRRORED(X) \
	X(recovered) X(dropped_spool) X(spooled) X(bytes_submitted) X(bytes_delivered) X(last_delivery_unix_ms) \
	X(clients_revision)
#define OWN(X) X(log_lines) X(log_refused) X(log_lost_records) X(log_lost_workspace) X(log_rolled_back)

static void
mirror_one(const struct entry *e)
{
	struct tel_stats s;

	if (tel_get_stats(e->producer.tel, &s, sizeof s) != TEL_OK)
		return;
#define X(name) e->producer.counters->name = s.name;
	MIRRORED(X)
#undef X
}

/* Ends by itself when there is no producer left. */
static void *
mirror(void *unused)
{
	const struct timespec second = { .tv_sec = 1 };
	bool more = true;

	while (more) {
		struct entry *e;

		(void)nanosleep(&second, NULL);
		(void)pthread_mutex_lock(&lock);
		VTAILQ_FOREACH(e, &entries, list)
			mirror_one(e);
		more = mirror_runs = !VTAILQ_EMPTY(&entries);
		(void)pthread_mutex_unlock(&lock);
	}
	return (unused);
}

/* The host's signals are for the host's threads. */
static bool
start_thread(void *(*run)(void *), void *argument)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int refused;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	refused = pthread_create(&thread, &attr, run, argument);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return (!refused);
}

/* To varnishd's own log, where operators look ("Child said"), and trouble to varnishlog too. One write a message. */
static void
say(int level, const char *message, void *path)
{
	char text[1024];
	int len = snprintf(text, sizeof text, "tel: %s: %s\n", (const char *)path, message);

	if (len < 0)
		return;
	if ((size_t)len >= sizeof text) {
		len = sizeof text - 1;
		text[len - 1] = '\n';
	}
	if (level <= 6 && write(STDERR_FILENO, text, (size_t)len) < 0)
		return;
	if (level <= 4)
		VSL(SLT_Error, 0, "tel: %s: %s", (const char *)path, message);
}

static void
entry_free(struct entry *e)
{
	tel_producer_free(e->producer.tel);
	free(e->config);
	free(e->path);
	free(e);
}

static void *
drain(void *entry)
{
	struct entry *e = entry;

	(void)tel_producer_close(e->producer.tel, DRAIN_MS);
	entry_free(e);
	return (NULL);
}

/* The group's name in varnishstat: the file's, with a number where another producer has it. */
static void
open_counters(struct entry *e)
{
	static unsigned opened;
	const char *base = strrchr(e->path, '/');
	const char *name = base == NULL ? e->path : base + 1;
	const char *dot = strrchr(name, '.');
	int len = dot == NULL || dot == name ? (int)strlen(name) : (int)(dot - name);
	bool taken = false;
	struct entry *other;

	VTAILQ_FOREACH(other, &entries, list) {
		const char *slash = strrchr(other->path, '/');

		taken |= strncmp(slash == NULL ? other->path : slash + 1, name, (size_t)len) == 0;
	}
	opened++;
	if (taken)
		e->producer.counters = VSC_tel_New(NULL, &e->segment, "%.*s-%u", len, name, opened);
	else
		e->producer.counters = VSC_tel_New(NULL, &e->segment, "%.*s", len, name);
}

static struct entry *
entry_new(const char *path, char *config, char *why, size_t why_size)
{
	struct entry *e = calloc(1, sizeof *e);
	struct tel_options options = { .size = sizeof options, .log = say };

	if (e == NULL || (e->path = strdup(path)) == NULL) {
		(void)snprintf(why, why_size, "out of memory");
		free(config);
		free(e);
		return (NULL);
	}
	e->config = config;
	options.opaque = e->path;
	e->producer.tel = tel_producer_new(config, &options, why, why_size);
	if (e->producer.tel == NULL) {
		entry_free(e);
		return (NULL);
	}
	open_counters(e);
	mirror_one(e);
	VTAILQ_INSERT_TAIL(&entries, e, list);
	if (!mirror_runs)
		mirror_runs = start_thread(mirror, NULL);
	return (e);
}

struct producer *
producer_acquire(const char *path, char *why, size_t why_size)
{
	char *config = config_file_read(path, why, why_size);
	struct entry *e;

	if (config == NULL)
		return (NULL);
	(void)pthread_mutex_lock(&lock);
	VTAILQ_FOREACH(e, &entries, list)
		if (strcmp(e->path, path) == 0 && strcmp(e->config, config) == 0)
			break;
	if (e != NULL)
		free(config);
	else
		e = entry_new(path, config, why, why_size);
	if (e != NULL)
		e->users++;
	(void)pthread_mutex_unlock(&lock);
	return (e == NULL ? NULL : &e->producer);
}

void
producer_release(struct producer *p)
{
	struct entry *e = (struct entry *)p;

	if (p == NULL)
		return;
	(void)pthread_mutex_lock(&lock);
	if (--e->users > 0) {
		(void)pthread_mutex_unlock(&lock);
		return;
	}
	VTAILQ_REMOVE(&entries, e, list);
	VSC_tel_Destroy(&e->segment);
	(void)pthread_mutex_unlock(&lock);
	if (!start_thread(drain, e)) {
		/* No threads to be had: better to lose lines, which libtel counts, than to keep the CLI waiting. */
		(void)tel_producer_close(e->producer.tel, 0);
		entry_free(e);
	}
}

int64_t
producer_counter(const struct producer *p, const char *name)
{
	struct tel_stats s;

#define X(counter)							\
	if (strcmp(name, #counter) == 0)				\
		return ((int64_t)__atomic_load_n(&p->counters->counter, __ATOMIC_RELAXED));
	OWN(X)
#undef X
	if (tel_get_stats(p->tel, &s, sizeof s) != TEL_OK)
		return (-1);
#define X(counter)							\
	if (strcmp(name, #counter) == 0)				\
		return ((int64_t)s.counter);
	MIRRORED(X)
	NOT_MIRRORED(X)
#undef X
	return (-1);
}
