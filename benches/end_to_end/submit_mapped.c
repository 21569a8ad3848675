/* Sends a file of "<client id> <log line>" lines through libtel from one thread, and prints what that cost as JSON.
 *
 *     submit_mapped CONFIG FILE      CONFIG is the JSON text itself
 *
 * The file is mapped, so that reading it costs little: what is measured is the library. */
#define _DEFAULT_SOURCE /* getrusage, clock_gettime, madvise */

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

#include <tel.h>

/* A multiple of every page size there is, and how much of the input may lie behind. */
enum { PAGES = 64 << 10, BEHIND = 4 << 20 };

struct text {
    const char *bytes;
    size_t length;
};

static struct text map(const char *path)
{
    struct stat st;
    const int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        perror(path);
        exit(2);
    }
    struct text text = { mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0), (size_t)st.st_size };
    if (text.bytes == MAP_FAILED) {
        perror(path);
        exit(2);
    }
    close(fd);
    return text;
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

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s CONFIG FILE\n", argv[0]);
        return 2;
    }
    const double start = now();
    const struct text input = map(argv[2]);
    char reason[512];
    tel_producer *p = tel_producer_new(argv[1], NULL, reason, sizeof reason);
    if (!p) {
        fprintf(stderr, "tel_producer_new: %s\n", reason);
        return 1;
    }

    uint64_t lines = 0, retries = 0;
    const char *line = input.bytes, *read = line, *end = input.bytes + input.length;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const size_t length = (size_t)((newline ? newline : end) - line);
        int code;
        while ((code = tel_submit(p, line, length)) == TEL_ERR_FULL) {
            /* The file is read faster than Kafka takes it: wait for room, as nothing may be lost here. */
            const struct timespec a_millisecond = { 0, 1000000 };
            nanosleep(&a_millisecond, NULL);
            retries++;
        }
        if (code != TEL_OK) {
            fprintf(stderr, "tel_submit: %s\n", tel_strerror(code));
            return 1;
        }
        lines++;
        line += length + 1;
        if ((size_t)(line - read) > BEHIND) {
            /* What was read is let go, or the input would count as this program's memory. */
            const size_t whole = (size_t)(line - read) / PAGES * PAGES;
            madvise((void *)(uintptr_t)read, whole, MADV_DONTNEED);
            read += whole;
        }
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
