/* A host with many clients: sends prepared lines through libtel as it is told on standard input, and answers each
 * command with one line of JSON. `run` drives it.
 *
 *     host CLIENTS LINES          prepares LINES lines of about 250 bytes, those of the clients c0..c<CLIENTS-1> in turn
 *
 *     open CONFIG                 starts the producer; CONFIG is its JSON
 *     burst                       submits all lines as fast as they are taken, and flushes
 *     first DEFAULT|FLUSH         one line of each client: when was the first delivered, when the last, since the open
 *     rate PER_SECOND SECONDS     submits at this rate; a line that finds the queue full is counted and left out
 *     sleep SECONDS
 *     close TIMEOUT_MS            closes and frees
 *
 * Times are in seconds. `cpu` is the process's own, user and system, during the command; what preparing costs is in none.
 */
#define _DEFAULT_SOURCE /* getrusage, clock_gettime */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <tel.h>

enum { MOST_LINE = 400, COMMAND = 64 << 10 };

struct lines {
    char *text;
    size_t *starts; /* count + 1 of them */
    size_t clients, count;
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void rest(double seconds)
{
    if (seconds > 0) {
        const struct timespec time = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
        nanosleep(&time, NULL);
    }
}

/* The same lines for the same arguments, as compressible as access lines are. */
static struct lines prepare(size_t clients, size_t count)
{
    struct lines lines = { malloc(count * MOST_LINE), malloc((count + 1) * sizeof(size_t)), clients, count };
    if (!lines.text || !lines.starts) {
        fputs("no memory for the lines\n", stderr);
        exit(2);
    }
    uint64_t random = 88172645463325252u;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        const size_t client = i % clients;
        const unsigned a = (unsigned)(random & 0xffff), b = (unsigned)(random >> 16 & 0xffff);
        lines.starts[i] = at;
        at += (size_t)snprintf(lines.text + at, MOST_LINE,
            "c%zu 10.%u.%u.%u %zu.%03u \"GET https://www.example%zu.com/static/img/%08x.png HTTP/2\" %s %u %s "
            "\"https://www.example%zu.com/\" \"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like "
            "Gecko) Chrome/%u.0.0.0 Safari/537.36\" 0.%04u h2 MAD1 %016" PRIx64 "\n",
            client, a & 255, a >> 8, b & 255, 1763700000 + i / 4000, b % 1000, client, a % 5000 * 2654435761u,
            b % 7 ? "200" : "304", (a ^ b) % 90000, b % 4 ? "HIT" : "MISS", client, 100 + b % 28, a % 1000, random);
    }
    lines.starts[count] = at;
    return lines;
}

static int submit(tel_producer *p, const struct lines *lines, size_t i)
{
    return tel_submit(p, lines->text + lines->starts[i], lines->starts[i + 1] - lines->starts[i]);
}

/* Submits, however long it takes to find room. How often there was none. */
static uint64_t submit_surely(tel_producer *p, const struct lines *lines, size_t i)
{
    uint64_t full = 0;
    int code;
    while ((code = submit(p, lines, i)) == TEL_ERR_FULL) {
        rest(0.001);
        full++;
    }
    if (code != TEL_OK) {
        fprintf(stderr, "tel_submit: %s\n", tel_strerror(code));
        exit(1);
    }
    return full;
}

static tel_stats stats(tel_producer *p)
{
    tel_stats s;
    if (tel_get_stats(p, &s, sizeof s) != TEL_OK) {
        fputs("tel_get_stats failed\n", stderr);
        exit(1);
    }
    return s;
}

static void burst(tel_producer *p, const struct lines *lines)
{
    uint64_t full = 0;
    for (size_t i = 0; i < lines->count; i++) {
        full += submit_surely(p, lines, i);
    }
    const int flushed = tel_flush(p, 600000);
    printf("\"lines\": %zu, \"full\": %" PRIu64 ", \"flushed\": %s", lines->count, full,
           flushed == TEL_OK ? "true" : "false");
}

static void first(tel_producer *p, const struct lines *lines, double opened, bool flush)
{
    const uint64_t before = stats(p).delivered;
    for (size_t i = 0; i < lines->clients; i++) {
        submit_surely(p, lines, i);
        if (flush && i == 0) {
            tel_flush(p, 0);
        }
    }
    double one = 0, all = 0;
    const double patience = now() + 120;
    while (all == 0 && now() < patience) {
        const uint64_t delivered = stats(p).delivered - before;
        one = one == 0 && delivered > 0 ? now() - opened : one;
        all = delivered == lines->clients ? now() - opened : 0;
        rest(0.001);
    }
    printf("\"lines\": %zu, \"first\": %.4f, \"all\": %.4f", lines->clients, one, all);
}

static void rate(tel_producer *p, const struct lines *lines, double per_second, double seconds)
{
    static size_t next;
    const double start = now();
    uint64_t sent = 0, full = 0;
    for (double passed = 0; passed < seconds; passed = now() - start) {
        const uint64_t due = (uint64_t)(passed * per_second);
        for (; sent + full < due; next = (next + 1) % lines->count) {
            *(submit(p, lines, next) == TEL_OK ? &sent : &full) += 1;
        }
        rest(0.005);
    }
    printf("\"lines\": %" PRIu64 ", \"full\": %" PRIu64, sent, full);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s CLIENTS LINES\n", argv[0]);
        return 2;
    }
    const struct lines lines = prepare(strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10));
    static char command[COMMAND];
    tel_producer *p = NULL;
    double opened = 0;
    while (fgets(command, sizeof command, stdin)) {
        command[strcspn(command, "\n")] = 0;
        char *argument = strchr(command, ' ');
        argument = argument ? (*argument = 0, argument + 1) : command + strlen(command);
        const double start = now(), cpu_before = cpu();
        printf("{");
        if (strcmp(command, "open") == 0) {
            char reason[512];
            opened = start;
            p = tel_producer_new(argument, NULL, reason, sizeof reason);
            if (!p) {
                fprintf(stderr, "tel_producer_new: %s\n", reason);
                return 1;
            }
            printf("\"open\": true");
        } else if (!p) {
            fprintf(stderr, "%s: not open\n", command);
            return 2;
        } else if (strcmp(command, "sleep") == 0) {
            rest(strtod(argument, NULL));
            printf("\"slept\": true");
        } else if (strcmp(command, "burst") == 0) {
            burst(p, &lines);
        } else if (strcmp(command, "first") == 0) {
            first(p, &lines, opened, strcmp(argument, "FLUSH") == 0);
        } else if (strcmp(command, "rate") == 0) {
            char *end;
            const double per_second = strtod(argument, &end);
            rate(p, &lines, per_second, strtod(end, NULL));
        } else if (strcmp(command, "close") == 0) {
            const int closed = tel_producer_close(p, (int)strtol(argument, NULL, 10));
            printf("\"closed\": \"%s\"", closed == TEL_OK ? "complete" : tel_strerror(closed));
        } else {
            fprintf(stderr, "%s: not a command\n", command);
            return 2;
        }
        const double wall = now() - start, spent = cpu() - cpu_before;
        const tel_stats s = stats(p);
        printf(", \"wall\": %.4f, \"cpu\": %.4f, \"submitted\": %" PRIu64 ", \"delivered\": %" PRIu64 ", \"failed\": %" PRIu64
               ", \"in_flight\": %" PRIu64 "}\n",
               wall, spent, s.submitted, s.delivered, s.failed, s.in_flight);
        fflush(stdout);
    }
    tel_producer_free(p);
    return 0;
}
