/* Sends a file of "<client id> <log line>" lines through libtel from one thread, and prints what that cost as JSON.
 *
 *     submit_lines CONFIG FILE [LINES_PER_SECOND]      CONFIG is the JSON text itself
 *
 * The file is in memory, as a host's lines are: what is measured is the library. */
#define _DEFAULT_SOURCE /* getrusage, clock_gettime */

#include "lines.h"

#include <tel.h>

int main(int argc, char **argv)
{
    struct input input;
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: %s CONFIG FILE [LINES_PER_SECOND]\n", argv[0]);
        return 2;
    }
    const double rate = argc == 4 ? atof(argv[3]) : 0;
    const double start = now();
    open_input(&input, argv[2]);
    char reason[512];
    tel_producer *p = tel_producer_new(argv[1], NULL, reason, sizeof reason);
    if (!p) {
        fprintf(stderr, "tel_producer_new: %s\n", reason);
        return 1;
    }

    uint64_t lines = 0, retries = 0;
    size_t length;
    for (const char *line; (line = next_line(&input, &length));) {
        while (rate > 0 && lines % 16 == 0 && (double)lines > (now() - start) * rate)
            a_millisecond();
        int code;
        while ((code = tel_submit(p, line, length)) == TEL_ERR_FULL) {
            /* The file is read faster than Kafka takes it: wait for room, as nothing may be lost here. */
            a_millisecond();
            retries++;
        }
        if (code != TEL_OK) {
            fprintf(stderr, "tel_submit: %s\n", tel_strerror(code));
            return 1;
        }
        lines++;
    }
    const int flushed = tel_flush(p, 120000);
    tel_stats s;
    if (flushed != TEL_OK || tel_get_stats(p, &s, sizeof s) != TEL_OK) {
        fprintf(stderr, "tel_flush: %s\n", tel_strerror(flushed));
        return 1;
    }
    tel_producer_free(p);

    print_cost(lines, s.delivered, retries, start);
    return s.delivered == lines ? 0 : 1;
}
