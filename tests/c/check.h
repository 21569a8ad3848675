/* check.h - what the C tests share: CHECK, which goes on after a failure; AWAIT, which replaces sleeping; a line per
 * test. Each program is one translation unit, so the state is static and the functions are inline. */
#ifndef TEL_TESTS_CHECK_H
#define TEL_TESTS_CHECK_H

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tel.h>

/* ---- checks: from the main thread only ---- */

static int check_failures; /* in the running test */
static int check_passed, check_failed;
static char check_note[8192]; /* what the checks that follow are about; printed with a failure */

#define CHECK(expression) check_at(__FILE__, __LINE__, #expression, !!(expression))
#define CHECK_AT(line, expression) check_at(__FILE__, line, #expression, !!(expression))

/* Both sides are shown. The casts allow any integer, unsigned 64-bit ones up to INT64_MAX. */
#define CHECK_EQ(actual, expected) CHECK_EQ_AT(__LINE__, actual, expected)
#define CHECK_EQ_AT(line, actual, expected) \
    check_equal_at(__FILE__, line, #actual, (long long)(actual), #expected, (long long)(expected))

/* Polls until the condition holds, and fails when the time is over. */
#define AWAIT(condition, ms)                                     \
    do {                                                         \
        const long long await_end = now_ms() + (ms) * patience();\
        while (!(condition) && now_ms() < await_end)             \
            pause_ms(2);                                         \
        CHECK(condition);                                        \
    } while (0)

static inline int check_at(const char *file, int line, const char *expression, int holds)
{
    if (!holds) {
        ++check_failures;
        fprintf(stderr, "%s:%d: not so: %s%s%s\n", file, line, expression, *check_note ? "\n    with " : "", check_note);
    }
    return holds;
}

static inline int check_equal_at(const char *file, int line, const char *left, long long actual, const char *right,
                                 long long expected)
{
    if (actual != expected) {
        ++check_failures;
        fprintf(stderr, "%s:%d: %s is %lld, not %s (%lld)%s%s\n", file, line, left, actual, right, expected,
                *check_note ? "\n    with " : "", check_note);
    }
    return actual == expected;
}

static inline void note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(check_note, sizeof check_note, format, arguments);
    va_end(arguments);
}

static inline void no_note(void) { *check_note = '\0'; }

/* Deadlines are for a machine at work. Where everything is slower by a factor (valgrind), TEL_TEST_PATIENCE says so. */
static inline long long patience(void)
{
    const char *factor = getenv("TEL_TEST_PATIENCE");
    const long long value = factor ? strtoll(factor, NULL, 10) : 1;
    return value > 1 ? value : 1;
}

static inline void test_begins(void)
{
    check_failures = 0;
    no_note();
    alarm((unsigned)(180 * patience())); /* a call that never returns ends the program, by SIGALRM */
}

static inline void test_ends(const char *name)
{
    printf("%-6s %s\n", check_failures ? "FAILED" : "ok", name);
    fflush(stdout); /* a child that is forked later must not print it again */
    check_failures ? ++check_failed : ++check_passed;
}

#define RUN(test)        \
    do {                 \
        test_begins();   \
        test();          \
        test_ends(#test);\
    } while (0)

static inline int summary(void)
{
    printf("%d passed, %d failed\n", check_passed, check_failed);
    return check_failed ? 1 : 0;
}

/* ---- time ---- */

static inline long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void pause_ms(long ms)
{
    const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

/* ---- the process ---- */

/* The number of entries of a folder: threads in /proc/self/task, descriptors in /proc/self/fd. */
static inline int entries(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    if (!folder)
        return -1;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static inline int threads_now(void) { return entries("/proc/self/task"); }
static inline int descriptors_now(void) { return entries("/proc/self/fd"); }

/* What a process is doing, as far as the kernel tells: running, or waiting, and in which call for what. */
static inline void show_state(pid_t process)
{
    static const char *const files[] = { "stat", "wchan", "syscall" };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
        char path[64], line[512];
        snprintf(path, sizeof path, "/proc/%ld/%s", (long)process, files[i]);
        FILE *file = fopen(path, "r");
        if (file && fgets(line, sizeof line, file))
            fprintf(stderr, "    %s: %.200s\n", files[i], line);
        if (file)
            fclose(file);
    }
}

/* Waits for a child; past the deadline it is killed, and that is a failure of its own. Returns its exit status, or
 * minus the signal that ended it. */
static inline int await_child(pid_t child, long long ms)
{
    const long long end = now_ms() + ms * patience();
    int status = 0;
    for (;;) {
        const pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        if (ended < 0 && errno != EINTR) {
            perror("waitpid");
            return -1000;
        }
        if (now_ms() >= end) {
            fprintf(stderr, "the child hangs: still there after %lld ms\n", ms * patience());
            show_state(child);
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            return -SIGKILL;
        }
        pause_ms(2);
    }
}

/* Runs a scenario in a child, which ends by exit(), exit handlers and all: status 0 if its checks held. */
static inline pid_t fork_scenario(void (*scenario)(void *), void *argument)
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        check_failures = 0;
        scenario(argument);
        exit(check_failures ? 1 : 0);
    }
    if (child < 0)
        perror("fork");
    return child;
}

/* ---- log ---- */

/* Keeps what the library says, so that tests can read it and the output stays the tests' own. Zero it before use. */
struct log_book {
    pthread_mutex_t lock;
    int calls, lowest, highest, over, late; /* over: the producer is gone; late: calls since then */
    int without_text;
    size_t used;
    char text[32768];
};

static inline void log_book_open(struct log_book *book)
{
    memset(book, 0, sizeof *book);
    pthread_mutex_init(&book->lock, NULL);
    book->lowest = 1000;
    book->highest = -1000;
}

static inline void keep_log(int level, const char *message, void *opaque)
{
    struct log_book *book = (struct log_book *)opaque;
    pthread_mutex_lock(&book->lock);
    ++book->calls;
    book->late += book->over;
    if (level < book->lowest)
        book->lowest = level;
    if (level > book->highest)
        book->highest = level;
    if (!message || !*message)
        ++book->without_text;
    else if (book->used + strlen(message) + 2 < sizeof book->text)
        book->used += (size_t)sprintf(book->text + book->used, "%s\n", message);
    pthread_mutex_unlock(&book->lock);
}

static inline int log_calls(struct log_book *book)
{
    pthread_mutex_lock(&book->lock);
    const int calls = book->calls;
    pthread_mutex_unlock(&book->lock);
    return calls;
}

/* The most urgent level so far: syslog's, where a lower one is worse. */
static inline int log_lowest(struct log_book *book)
{
    pthread_mutex_lock(&book->lock);
    const int lowest = book->lowest;
    pthread_mutex_unlock(&book->lock);
    return lowest;
}

static inline int log_has(struct log_book *book, const char *words)
{
    pthread_mutex_lock(&book->lock);
    const int found = strstr(book->text, words) != NULL;
    pthread_mutex_unlock(&book->lock);
    return found;
}

static inline tel_options log_to(struct log_book *book)
{
    tel_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.log = keep_log;
    options.opaque = book;
    return options;
}

static inline void log_nowhere(int level, const char *message, void *opaque)
{
    (void)level;
    (void)message;
    (void)opaque;
}

/* For tests that do not look at the log. */
static inline tel_options quiet(void)
{
    tel_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.log = log_nowhere;
    return options;
}

/* ---- the library ---- */

/* JSON with single quotes, so that it can be read in C. Four texts may be in use at a time. */
static inline const char *json(const char *text)
{
    static char rooms[4][4096];
    static int turn;
    char *room = rooms[turn = (turn + 1) % 4];
    snprintf(room, sizeof rooms[0], "%s", text);
    for (char *c = room; *c; ++c)
        if (*c == '\'')
            *c = '"';
    return room;
}

/* A producer of this configuration (in single quotes), or NULL and a failed check that shows why. */
static inline tel_producer *start(const char *config, const tel_options *options)
{
    char reason[1024];
    tel_producer *p = tel_producer_new(json(config), options, reason, sizeof reason);
    if (!p)
        fprintf(stderr, "tel_producer_new: %s\n", reason);
    CHECK(p != NULL);
    return p;
}

static inline int set_clients(tel_producer *p, const char *list)
{
    char reason[1024];
    const char *text = json(list);
    const int code = tel_set_clients(p, text, strlen(text), reason, sizeof reason);
    if (code != TEL_OK)
        fprintf(stderr, "tel_set_clients: %s\n", reason);
    return code;
}

static inline int submit_text(tel_producer *p, const char *line) { return tel_submit(p, line, strlen(line)); }
static inline int wants(const tel_producer *p, const char *client) { return tel_wants(p, client, strlen(client)); }

static inline tel_stats stats_of(const tel_producer *p)
{
    tel_stats s;
    memset(&s, 0xEE, sizeof s);
    CHECK_EQ(tel_get_stats(p, &s, sizeof s), TEL_OK);
    return s;
}

/* After a close that ran out of time: it returns then, whatever the worker does, and on a machine that gives the worker
 * no processor for a tenth of a second the last count comes a moment later. */
static inline tel_stats settled_stats_of(const tel_producer *p)
{
    AWAIT(stats_of(p).in_flight == 0, 1000);
    return stats_of(p);
}

static inline uint64_t accounted(const tel_stats *s)
{
    return s->delivered + s->failed + s->dropped_full + s->dropped_too_long + s->dropped_rate + s->dropped_spool +
           s->sampled_out + s->unknown_client + s->malformed + s->spooled + s->in_flight;
}

/* Contract, section 5. Call it when nothing moves: after a flush or close. */
#define CHECK_IDENTITY(p)                                                \
    do {                                                                 \
        const tel_stats identity = stats_of(p);                          \
        CHECK_EQ(identity.submitted + identity.recovered, accounted(&identity)); \
    } while (0)

/* The number under "outer": {... "key": N}. Enough of JSON for what tel_stats_json prints; -1 if it is not there. */
static inline long long number_in(const char *text, const char *outer, const char *key)
{
    char quoted[300];
    snprintf(quoted, sizeof quoted, "\"%s\"", outer);
    const char *at = strstr(text, quoted);
    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    at = at ? strstr(at, quoted) : NULL;
    if (!at)
        return -1;
    at += strlen(quoted);
    at += strspn(at, " \t\r\n:");
    return *at >= '0' && *at <= '9' ? strtoll(at, NULL, 10) : -1;
}

/* The statistics as JSON; the caller frees them. */
static inline char *stats_text(const tel_producer *p)
{
    size_t room = tel_stats_json(p, NULL, 0) + 1024; /* gauges may grow a digit between two calls */
    char *text = (char *)calloc(room, 1);
    if (!text || tel_stats_json(p, text, room) >= room) {
        free(text);
        return NULL;
    }
    return text;
}

#endif
