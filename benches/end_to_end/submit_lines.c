/* Sends a file of "<client id> <log line>" lines through libtel from one thread, and prints what that cost as JSON.
 *
 *     submit_lines CONFIG FILE [LINES_PER_SECOND]      CONFIG is the JSON text itself
 *
 * The file is read in large blocks, so that what is measured is the library. */
#define _DEFAULT_SOURCE /* getrusage, clock_gettime */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <tel.h>

enum { BLOCK = 256 << 10 };

/* One block of the file, and the beginning of a line that goes on in the next one. */
struct input {
    int fd;
    size_t begin, end;
    char bytes[BLOCK];
};

/* The next line, without its newline; NULL at the end of the file. */
static const char *next_line(struct input *input, size_t *length)
{
    for (;;) {
        const char *line = input->bytes + input->begin;
        const size_t left = input->end - input->begin;
        const char *newline = memchr(line, '\n', left);
        if (newline) {
            *length = (size_t)(newline - line);
            input->begin += *length + 1;
            return line;
        }
        memmove(input->bytes, line, left);
        input->begin = 0;
        input->end = left;
        const ssize_t got = read(input->fd, input->bytes + left, BLOCK - left);
        if (got < 0 || left == BLOCK) {
            perror(got < 0 ? "read" : "a line is too long");
            exit(2);
        }
        if (got == 0 && left == 0)
            return NULL;
        if (got == 0) {
            input->begin = input->end;
            *length = left;
            return input->bytes;
        }
        input->end += (size_t)got;
    }
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void a_millisecond(void)
{
    const struct timespec time = { 0, 1000000 };
    nanosleep(&time, NULL);
}

int main(int argc, char **argv)
{
    static struct input input;
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: %s CONFIG FILE [LINES_PER_SECOND]\n", argv[0]);
        return 2;
    }
    const double rate = argc == 4 ? atof(argv[3]) : 0;
    const double start = now();
    input.fd = open(argv[2], O_RDONLY);
    if (input.fd < 0) {
        perror(argv[2]);
        return 2;
    }
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

    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"lines\": %" PRIu64 ", \"delivered\": %" PRIu64 ", \"queue_full\": %" PRIu64
           ", \"user\": %.6f, \"system\": %.6f, \"wall\": %.6f, \"max_rss_kb\": %ld, \"voluntary\": %ld, "
           "\"involuntary\": %ld}\n",
           lines, s.delivered, retries, seconds(usage.ru_utime), seconds(usage.ru_stime), now() - start,
           usage.ru_maxrss, usage.ru_nvcsw, usage.ru_nivcsw);
    return s.delivered == lines ? 0 : 1;
}
