/* What the programs of the end to end bench share: reading lines, and telling what a run cost. */
#ifndef TEL_BENCH_LINES_H
#define TEL_BENCH_LINES_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Bytes of the file that are in memory at a time. */
enum { WINDOW = 4 << 20 };

/* A file in memory, as a host has its lines there: reading them costs next to nothing. */
struct input {
    const char *next, *end;
    /* Where the window in memory begins and ends. */
    const char *window, *window_end;
};

static inline void open_input(struct input *input, const char *path)
{
    struct stat about;
    const int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &about)) {
        perror(path);
        exit(2);
    }
    const char *bytes = "";
    if (about.st_size > 0)
        bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    close(fd);
    input->next = input->window = input->window_end = bytes;
    input->end = bytes + about.st_size;
}

/* Brings the next window in, and lets go of the one before. Only hints: without them, pages come one by one and stay. */
static inline void move_window(struct input *input)
{
    const size_t left = (size_t)(input->end - input->window_end);
    const size_t length = left < WINDOW ? left : WINDOW;
    (void)madvise((void *)input->window, (size_t)(input->window_end - input->window), MADV_DONTNEED);
    (void)madvise((void *)input->window_end, length, MADV_POPULATE_READ);
    input->window = input->window_end;
    input->window_end += length;
}

/* The next line, without its newline; NULL at the end of the file. */
static inline const char *next_line(struct input *input, size_t *length)
{
    const char *line = input->next;
    if (line == input->end)
        return NULL;
    if (line >= input->window_end)
        move_window(input);
    const char *newline = memchr(line, '\n', (size_t)(input->end - line));
    *length = (size_t)((newline ? newline : input->end) - line);
    input->next = newline ? newline + 1 : input->end;
    return line;
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
