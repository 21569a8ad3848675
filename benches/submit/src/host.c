/* The host: a C program that calls tel_submit through the header and the shared library, as every host does. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <tel.h>

void *host_open(const char *config)
{
    char reason[512];
    tel_producer *p = tel_producer_new(config, NULL, reason, sizeof reason);
    if (!p) {
        fprintf(stderr, "tel_producer_new: %s\n", reason);
        exit(1);
    }
    return p;
}

/* The timed loop. `kinds` is a power of two. Returns how many lines were refused. */
size_t host_burst(void *p, const char *const *lines, size_t kinds, size_t len, size_t count)
{
    size_t refused = 0;
    for (size_t i = 0; i < count; i++)
        refused += tel_submit(p, lines[i & (kinds - 1)], len) != TEL_OK;
    return refused;
}

/* Waits until the worker has taken everything. */
void host_settle(void *p)
{
    tel_stats s;
    do {
        const struct timespec a_millisecond = { 0, 1000000 };
        nanosleep(&a_millisecond, NULL);
        if (tel_get_stats(p, &s, sizeof s) != TEL_OK)
            exit(1);
    } while (s.in_flight > 0);
}

void host_counts(void *p, uint64_t *submitted, uint64_t *unknown, uint64_t *full)
{
    tel_stats s;
    if (tel_get_stats(p, &s, sizeof s) != TEL_OK)
        exit(1);
    *submitted = s.submitted;
    *unknown = s.unknown_client;
    *full = s.dropped_full;
}

void host_close(void *p)
{
    tel_producer_free(p);
}
