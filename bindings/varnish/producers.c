#include <ctype.h>
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
	char *name;			/* of its counters */
	char *config;			/* NULL as long as `producer.tel` is */
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
#define OWN(X) X(unavailable) X(log_refused) X(log_lost_records) X(log_lost_workspace) X(log_rolled_back)

static uint64_t
access_lines(const struct producer *p, const struct tel_stats *s)
{
	/* After the lines that it is a part of, which it may have overtaken. */
	uint64_t others = __atomic_load_n(&p->others, __ATOMIC_RELAXED);

	return (s->submitted > others ? s->submitted - others : 0);
}

static void
mirror_one(const struct entry *e)
{
	struct tel_stats s;
	uint64_t lines;

	if (e->config == NULL || tel_get_stats(e->producer.tel, &s, sizeof s) != TEL_OK)
		return;
#define X(name) e->producer.counters->name = s.name;
	MIRRORED(X)
#undef X
	lines = access_lines(&e->producer, &s);
	if (e->producer.counters->log_lines < lines)
		e->producer.counters->log_lines = lines;
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
	free(e->name);
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

static bool
name_is_taken(const char *name)
{
	const struct entry *e;

	VTAILQ_FOREACH(e, &entries, list)
		if (strcmp(e->name, name) == 0)
			return (true);
	return (false);
}

/*
 * varnishd writes the name into a line of words, and every program that reads Varnish's shared memory ends in an assertion
 * where that has one too many, or a quote.
 */
static void
make_one_word(char *name)
{
	for (; *name != '\0'; name++)
		if (!isalnum((unsigned char)*name) && strchr("._:-", *name) == NULL)
			*name = '_';
}

/*
 * The group's name in varnishstat: the file's without what is behind its last dot, and where another producer has that,
 * with the lowest number from 2 that none has. It keeps it, as requests may be counting there. NULL: out of memory.
 */
static char *
free_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *file = slash == NULL ? path : slash + 1;
	const char *dot = strrchr(file, '.');
	size_t len = dot == NULL || dot == file ? strlen(file) : (size_t)(dot - file);
	size_t room = len + sizeof "-4294967295";
	char *name = malloc(room);

	if (name == NULL)
		return (NULL);
	(void)snprintf(name, room, "%.*s", (int)len, file);
	make_one_word(name);
	for (unsigned n = 2; name_is_taken(name); n++)
		(void)snprintf(name + len, room - len, "-%u", n);
	return (name);
}

/* Makes the producer of an entry that has none, and keeps the configuration; false, with the reason, if it is wrong. */
static bool
fill(struct entry *e, char *config, char *why, size_t why_size)
{
	struct tel_options options = { .size = sizeof options, .log = say, .opaque = e->path };
	struct tel_producer *tel = tel_producer_new(config, &options, why, why_size);

	if (tel == NULL) {
		free(config);
		return (false);
	}
	e->config = config;
	/* Requests look at it without the lock. */
	__atomic_store_n(&e->producer.tel, tel, __ATOMIC_RELEASE);
	return (true);
}

static void
try_again(struct entry *e)
{
	char why[512];
	char *config = config_file_read(e->path, why, sizeof why);

	if (config != NULL && fill(e, config, why, sizeof why))
		say(5, "can be had again, lines are delivered", e->path);
}

/* Shows the counters, and looks whether a configuration can be had by now. Ends by itself when there is no producer left. */
static void *
mirror(void *unused)
{
	const struct timespec second = { .tv_sec = 1 };
	bool more = true;

	while (more) {
		struct entry *e;

		(void)nanosleep(&second, NULL);
		(void)pthread_mutex_lock(&lock);
		VTAILQ_FOREACH(e, &entries, list) {
			if (e->config == NULL)
				try_again(e);
			mirror_one(e);
		}
		more = mirror_runs = !VTAILQ_EMPTY(&entries);
		(void)pthread_mutex_unlock(&lock);
	}
	return (unused);
}

/* Without a producer. NULL, with the reason, if memory is not to be had. */
static struct entry *
entry_new(const char *path, char *why, size_t why_size)
{
	struct entry *e = calloc(1, sizeof *e);

	if (e != NULL && (e->path = strdup(path)) != NULL && (e->name = free_name(path)) != NULL)
		return (e);
	(void)snprintf(why, why_size, "out of memory");
	if (e != NULL)
		entry_free(e);
	return (NULL);
}

static void
entry_add(struct entry *e)
{
	e->producer.counters = VSC_tel_New(NULL, &e->segment, "%s", e->name);
	mirror_one(e);
	VTAILQ_INSERT_TAIL(&entries, e, list);
	if (!mirror_runs)
		mirror_runs = start_thread(mirror, NULL);
}

/* That of this path and content; of several with neither producer nor content, that of the path. */
static struct entry *
find(const char *path, const char *config)
{
	struct entry *e;

	VTAILQ_FOREACH(e, &entries, list)
		if (strcmp(e->path, path) == 0 && (config == NULL || e->config == NULL ? config == e->config :
		    strcmp(e->config, config) == 0))
			return (e);
	return (NULL);
}

/* Takes the configuration over. NULL, with the reason, if it is wrong. */
static struct entry *
find_or_make(const char *path, char *config, char *why, size_t why_size)
{
	struct entry *e = find(path, config);

	if (e != NULL) {
		free(config);
		return (e);
	}
	e = find(path, NULL);
	if (e != NULL)
		return (fill(e, config, why, why_size) ? e : NULL);
	e = entry_new(path, why, why_size);
	if (e == NULL)
		free(config);
	else if (fill(e, config, why, why_size)) {
		entry_add(e);
		return (e);
	} else
		entry_free(e);
	return (NULL);
}

/* One that is made as soon as its configuration can be had; NULL if memory is not to be had. */
static struct entry *
find_or_await(const char *path, char *why, size_t why_size)
{
	struct entry *e = find(path, NULL);
	char text[640];

	if (e != NULL)
		return (e);
	(void)snprintf(text, sizeof text, "%s: lines are dropped until it can be had, which is tried every second", why);
	e = entry_new(path, why, why_size);
	if (e == NULL)
		return (NULL);
	say(3, text, e->path);
	entry_add(e);
	return (e);
}

struct producer *
producer_acquire(const char *path, bool starting, char *why, size_t why_size)
{
	char *config = config_file_read(path, why, why_size);
	struct entry *e = NULL;

	(void)pthread_mutex_lock(&lock);
	if (config != NULL)
		e = find_or_make(path, config, why, why_size);
	if (e == NULL && starting)
		e = find_or_await(path, why, why_size);
	if (e != NULL)
		e->users++;
	(void)pthread_mutex_unlock(&lock);
	return (e == NULL ? NULL : &e->producer);
}

void
producer_release(struct producer *p)
{
	struct entry *e = (struct entry *)p;

	(void)pthread_mutex_lock(&lock);
	if (--e->users > 0) {
		(void)pthread_mutex_unlock(&lock);
		return;
	}
	VTAILQ_REMOVE(&entries, e, list);
	VSC_tel_Destroy(&e->segment);
	(void)pthread_mutex_unlock(&lock);
	if (e->config == NULL)
		entry_free(e);
	else if (!start_thread(drain, e)) {
		/* No threads to be had: better to lose lines, which libtel counts, than to keep the CLI waiting. */
		(void)tel_producer_close(e->producer.tel, 0);
		entry_free(e);
	}
}

const char *
producer_path(const struct producer *p)
{
	return (((const struct entry *)p)->path);
}

int64_t
producer_counter(const struct producer *p, const char *name)
{
	struct tel_stats s = { 0 };
	struct tel_producer *tel = producer_tel(p);

#define X(counter)							\
	if (strcmp(name, #counter) == 0)				\
		return ((int64_t)__atomic_load_n(&p->counters->counter, __ATOMIC_RELAXED));
	OWN(X)
#undef X
	if (tel != NULL && tel_get_stats(tel, &s, sizeof s) != TEL_OK)
		return (-1);
#define X(counter)							\
	if (strcmp(name, #counter) == 0)				\
		return ((int64_t)s.counter);
	MIRRORED(X)
	NOT_MIRRORED(X)
#undef X
	return (strcmp(name, "log_lines") == 0 ? (int64_t)access_lines(p, &s) : -1);
}
