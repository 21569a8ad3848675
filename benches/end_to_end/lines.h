/* What the programs of the end to end bench share: reading lines, and telling what a run cost. */
#ifndef TEL_BENCH_LINES_H
#define TEL_BENCH_LINES_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 256 << 10 };

/* One block of the file, and the beginning of a line that goes on in the next one. */
struct input {
    int fd;
    size_t begin, end;
    char bytes[BLOCK];
};

static inline void open_input(struct input *input, const char *path)
{
    input->fd = open(path, O_RDONLY);
    if (input->fd < 0) {
        perror(path);
        exit(2);
    }
}

/* The next line, without its newline; NULL at the end of the file. */
static inline const char *next_line(struct input *input, size_t *length)
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

static inline double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static inline double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline void a_millisecond(void)
{
    const struct timespec time = { 0, 1000000 };
    nanosleep(&time, NULL);
}

/* What the process has cost since it began, as JSON. `waits`: how often it had to wait for room. */
static inline void print_cost(uint64_t lines, uint64_t delivered, uint64_t waits, double start)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"lines\": %" PRIu64 ", \"delivered\": %" PRIu64 ", \"queue_full\": %" PRIu64
           ", \"user\": %.6f, \"system\": %.6f, \"wall\": %.6f, \"max_rss_kb\": %ld, \"voluntary\": %ld, "
           "\"involuntary\": %ld}\n",
           lines, delivered, waits, seconds(usage.ru_utime), seconds(usage.ru_stime), now() - start,
           usage.ru_maxrss, usage.ru_nvcsw, usage.ru_nivcsw);
}

#endif
