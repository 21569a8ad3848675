/* submit_file - sends a file of "<client id> <log line>" lines through libtel, and says what became of them.
 *
 *     submit_file CONFIG.json [INPUT]          INPUT "-" or none: standard input
 *
 * Exit status: 0   every line reached its end, and none was lost on the way
 *              1   lines were lost, or are not known to have arrived, by the deadline
 *              2   wrong usage, or a file that cannot be read
 *              78  the configuration is refused (EX_CONFIG; the reason is on standard error)
 */
#define _POSIX_C_SOURCE 200809L /* getline, nanosleep */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tel.h>

#include "slurp.h"

enum { EXIT_LOST = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78, FLUSH_MS = 60 * 1000 };

/* A server drops a line that finds the queue full, because it must not wait. A program that copies a file has all the
 * time there is: it lets the worker catch up and tries again. This ends even if no broker answers, since Kafka gives
 * up a line after message.timeout.ms and so makes room. */
static int submit_patiently(tel_producer *tel, const char *line, size_t len, uint64_t *retries)
{
    for (;;) {
        const int code = tel_submit(tel, line, len);
        if (code != TEL_ERR_FULL)
            return code;
        ++*retries;
        const struct timespec a_millisecond = { 0, 1000000 };
        nanosleep(&a_millisecond, NULL);
    }
}

/* Submits the input to its end; false if it could not be read or the library takes no lines any more. */
static bool submit_all(tel_producer *tel, FILE *input, const char *name, uint64_t *retries)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    uint64_t number = 0;
    bool open = true;

    errno = 0;
    while (open && (len = getline(&line, &room, input)) >= 0) {
        ++number;
        /* The newline that getline leaves at the end may stay: it is not part of what Kafka gets. */
        const int code = submit_patiently(tel, line, (size_t)len, retries);
        if (code != TEL_OK)
            fprintf(stderr, "%s:%" PRIu64 ": %s\n", name, number, tel_strerror(code));
        /* A line too long is counted, and no reason to stop. Nothing else can be wrong with a single line: what its
         * client is, and whether anyone wants it, is found out later and shows in the totals. */
        open = code == TEL_OK || code == TEL_ERR_TOO_LONG;
    }
    if (open && ferror(input)) {
        fprintf(stderr, "%s: %s\n", name, strerror(errno));
        open = false;
    }
    free(line);
    return open;
}

/* Prints the totals. True if the account balances and no line was lost. */
static bool report(const tel_producer *tel, uint64_t retries)
{
    tel_stats s;
    const int code = tel_get_stats(tel, &s, sizeof s);
    if (code != TEL_OK) {
        fprintf(stderr, "tel_get_stats: %s\n", tel_strerror(code));
        return false;
    }
    const uint64_t in = s.submitted + s.recovered;
    const uint64_t out = s.delivered + s.failed + s.dropped_full + s.dropped_too_long + s.dropped_rate +
                         s.dropped_spool + s.sampled_out + s.unknown_client + s.malformed + s.spooled + s.in_flight;

    printf("submitted         %10" PRIu64 "\n", s.submitted);
    if (s.recovered)
        printf("recovered         %10" PRIu64 "\n", s.recovered);
    printf("  delivered       %10" PRIu64 "\n", s.delivered);
    printf("  unknown client  %10" PRIu64 "\n", s.unknown_client);
    printf("  malformed       %10" PRIu64 "\n", s.malformed);
    printf("  sampled out     %10" PRIu64 "\n", s.sampled_out);
    printf("  over its rate   %10" PRIu64 "\n", s.dropped_rate);
    printf("  too long        %10" PRIu64 "\n", s.dropped_too_long);
    printf("  queue full      %10" PRIu64 "   of which tried again: %" PRIu64 "\n", s.dropped_full, retries);
    printf("  failed          %10" PRIu64 "\n", s.failed);
    printf("  spooled         %10" PRIu64 "\n", s.spooled);
    printf("  dropped, spool  %10" PRIu64 "\n", s.dropped_spool);
    printf("  in flight       %10" PRIu64 "\n", s.in_flight);
    printf("every line accounted for: %s\n", in == out ? "yes" : "NO");

    /* Each time the queue was full, the library counted a line as dropped; here each of those was submitted again. */
    const uint64_t lost = s.failed + s.dropped_too_long + s.dropped_spool + (s.dropped_full - retries);
    return in == out && lost == 0 && s.in_flight == 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s CONFIG.json [INPUT]\n", argv[0]);
        return EXIT_USAGE;
    }
    char *config = slurp(argv[1], NULL);
    if (!config) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
        return EXIT_USAGE;
    }
    const bool from_stdin = argc < 3 || strcmp(argv[2], "-") == 0;
    const char *name = from_stdin ? "standard input" : argv[2];
    FILE *input = from_stdin ? stdin : fopen(argv[2], "rb");
    if (!input) {
        fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
        free(config);
        return EXIT_USAGE;
    }

    char reason[512];
    tel_producer *tel = tel_producer_new(config, NULL, reason, sizeof reason);
    free(config); /* the producer keeps what it needs */
    if (!tel) {
        fprintf(stderr, "%s: %s\n", argv[1], reason);
        if (!from_stdin)
            fclose(input);
        return EXIT_CONFIG;
    }

    uint64_t retries = 0;
    bool good = submit_all(tel, input, name, &retries);
    if (!from_stdin)
        fclose(input);

    /* Submitting only queues. Until the flush returns, lines are still on their way to the brokers. */
    const int flushed = tel_flush(tel, FLUSH_MS);
    if (flushed != TEL_OK) {
        fprintf(stderr, "flush: %s\n", tel_strerror(flushed));
        good = false;
    }
    good = report(tel, retries) && good;
    tel_producer_free(tel);
    return good ? EXIT_SUCCESS : EXIT_LOST;
}
