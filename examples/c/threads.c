/* threads - a host with many threads, as a web server is: each submits its own share of the lines, in order.
 *
 *     threads CONFIG.json INPUT THREADS
 *
 * INPUT holds "<client id> <log line>" lines; of T threads, thread t submits the lines t, t + T, t + 2T ... Lines that
 * one thread submits for one client keep their order. The statistics go to standard output as JSON, all else to
 * standard error. The exit status is that of submit_file: 0 all well, 1 lines lost, 2 usage or files, 78 configuration.
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tel.h>

#include "slurp.h"

enum { EXIT_LOST = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78, FLUSH_MS = 60 * 1000, MOST_THREADS = 4096 };

/* What one thread works on. The producer is the only thing the threads share: it is made for that. */
typedef struct {
    tel_producer *tel;
    const char *text;
    size_t len;
    size_t share, shares; /* this thread's lines: share, share + shares, ... */
    uint64_t retries;
    int error; /* why the thread stopped early, or TEL_OK */
} job;

/* Tries again while the queue is full. A real host does not: it goes on with its work and leaves the line to be
 * counted as dropped_full. */
static int submit_patiently(job *mine, const char *line, size_t len)
{
    for (;;) {
        const int code = tel_submit(mine->tel, line, len);
        if (code != TEL_ERR_FULL)
            return code;
        ++mine->retries;
        const struct timespec a_millisecond = { 0, 1000000 };
        nanosleep(&a_millisecond, NULL);
    }
}

/* Walks over all lines and submits its own: passing over those of the others is cheaper than sharing a cursor. */
static void *work(void *argument)
{
    job *mine = (job *)argument;
    const char *line = mine->text;
    const char *const end = mine->text + mine->len;

    for (size_t number = 0; line < end; ++number) {
        const char *newline = (const char *)memchr(line, '\n', (size_t)(end - line));
        const char *next = newline ? newline + 1 : end;
        if (number % mine->shares == mine->share) {
            const int code = submit_patiently(mine, line, (size_t)(next - line));
            if (code != TEL_OK && code != TEL_ERR_TOO_LONG) { /* a line too long is counted; the next may be well */
                mine->error = code;
                break;
            }
        }
        line = next;
    }
    return NULL;
}

/* Runs the jobs, one thread each, and waits for them. False if not all of the lines could be submitted. */
static bool run(job *jobs, pthread_t *threads, size_t count)
{
    bool good = true;
    size_t started = 0;
    while (started < count) {
        const int code = pthread_create(&threads[started], NULL, work, &jobs[started]);
        if (code != 0) {
            fprintf(stderr, "thread %zu: %s\n", started, strerror(code));
            good = false;
            break;
        }
        ++started;
    }
    for (size_t t = 0; t < started; ++t) {
        pthread_join(threads[t], NULL);
        if (jobs[t].error != TEL_OK) {
            fprintf(stderr, "thread %zu: %s\n", t, tel_strerror(jobs[t].error));
            good = false;
        }
    }
    return good;
}

/* Prints the statistics as JSON, whatever their length. */
static bool print_stats(const tel_producer *tel)
{
    char *json = NULL;
    size_t room = 0, needed = tel_stats_json(tel, NULL, 0);
    while (needed >= room) { /* as snprintf: the length without the NUL; it may grow between two calls */
        room = needed + 1;
        char *larger = (char *)realloc(json, room);
        if (!larger) {
            free(json);
            return false;
        }
        json = larger;
        needed = tel_stats_json(tel, json, room);
    }
    const bool printed = puts(json) >= 0;
    free(json);
    return printed;
}

/* True if the account balances and no line was lost. A line that met a full queue was counted as dropped each time, but
 * also submitted again. */
static bool nothing_lost(const tel_producer *tel, const job *jobs, size_t count)
{
    tel_stats s;
    if (tel_get_stats(tel, &s, sizeof s) != TEL_OK)
        return false;
    const uint64_t in = s.submitted + s.recovered;
    const uint64_t out = s.delivered + s.failed + s.dropped_full + s.dropped_too_long + s.dropped_rate +
                         s.dropped_spool + s.sampled_out + s.unknown_client + s.malformed + s.spooled + s.in_flight;
    uint64_t retries = 0;
    for (size_t t = 0; t < count; ++t)
        retries += jobs[t].retries;

    if (in != out)
        fprintf(stderr, "%" PRIu64 " lines went in, %" PRIu64 " are accounted for\n", in, out);
    const uint64_t lost = s.failed + s.dropped_too_long + s.dropped_spool + (s.dropped_full - retries);
    if (lost || s.in_flight)
        fprintf(stderr, "%" PRIu64 " lines lost, %" PRIu64 " still on their way\n", lost, s.in_flight);
    return in == out && lost == 0 && s.in_flight == 0;
}

/* Everything between having the input in memory and the exit status. */
static int deliver(tel_producer *tel, const char *text, size_t len, size_t count)
{
    job *jobs = (job *)calloc(count, sizeof *jobs);
    pthread_t *threads = (pthread_t *)calloc(count, sizeof *threads);
    bool good = jobs && threads;
    if (good) {
        for (size_t t = 0; t < count; ++t) {
            jobs[t].tel = tel;
            jobs[t].text = text;
            jobs[t].len = len;
            jobs[t].share = t;
            jobs[t].shares = count;
        }
        good = run(jobs, threads, count);

        /* Submitting only queues. Until the flush returns, lines are still on their way to the brokers. */
        const int flushed = tel_flush(tel, FLUSH_MS);
        if (flushed != TEL_OK) {
            fprintf(stderr, "flush: %s\n", tel_strerror(flushed));
            good = false;
        }
        good = print_stats(tel) && good;
        good = nothing_lost(tel, jobs, count) && good;
    }
    free(threads);
    free(jobs);
    return good ? EXIT_SUCCESS : EXIT_LOST;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    const unsigned long count = argc == 4 ? strtoul(argv[3], &end, 10) : 0;
    if (count < 1 || count > MOST_THREADS || *end != '\0') {
        fprintf(stderr, "usage: %s CONFIG.json INPUT THREADS (1 to %d)\n", argv[0], MOST_THREADS);
        return EXIT_USAGE;
    }

    int status = EXIT_USAGE;
    size_t len = 0;
    char *config = slurp(argv[1], NULL);
    char *text = config ? slurp(argv[2], &len) : NULL;
    if (text) {
        char reason[512];
        tel_producer *tel = tel_producer_new(config, NULL, reason, sizeof reason);
        if (tel) {
            status = deliver(tel, text, len, count);
        } else {
            fprintf(stderr, "%s: %s\n", argv[1], reason);
            status = EXIT_CONFIG;
        }
        tel_producer_free(tel);
    } else {
        fprintf(stderr, "%s: %s\n", config ? argv[2] : argv[1], strerror(errno));
    }
    free(text);
    free(config);
    return status;
}
