/* lifecycle - start, close, free and exit, with brokers that answer and with none: no call waits longer than it says,
 * and nothing of the library is left behind: no thread, no descriptor, no signal taken, no call of the log.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include <stdbool.h>
#include <sys/mman.h>

#include "check.h"

enum { FLUSH_MS = 20000, EXIT_MS = 500, CHILD_MS = 30000 };

/* Nothing listens there. Small bounds, so that they are soon reached. */
static const char UNREACHABLE[] = "{'kafka': {'bootstrap.servers': '127.0.0.1:1'}, 'exit_timeout_ms': 500,"
                                  " 'queue.bytes': 1048576, 'batches.bytes': 2097152}";
static const char EMBEDDED[] = "{'embedded_broker': true, 'queue.bytes': 1048576, 'batches.bytes': 2097152,"
                               " 'kafka': {'queue.buffering.max.ms': 5}}";
static const char LIST[] = "{'revision': 1, 'clients': [{'id': 'good'}]}";

static const char LINE[] = "good 192.0.2.7 - - [21/Nov/2025:10:05:03 +0000] \"GET /index.html HTTP/1.1\" 200 5120";

static tel_producer *started(const char *config, const tel_options *options)
{
    tel_producer *p = start(config, options);
    if (p && !CHECK_EQ(set_clients(p, LIST), TEL_OK)) {
        tel_producer_free(p);
        p = NULL;
    }
    return p;
}

/* ---- no broker ---- */

static void test_unreachable_broker(void)
{
    const tel_options options = quiet();
    tel_producer *p = started(UNREACHABLE, &options);
    if (!p)
        return;

    /* Until FULL has come to stay: a first one only says that the worker has not yet moved lines on to the batches. */
    uint64_t accepted = 0, full = 0;
    long long slowest = 0, before = now_ms(), last_accepted = before;
    const long long end = before + 20000 * patience();
    while (before < end && before - last_accepted < 500) {
        const int code = tel_submit(p, LINE, sizeof LINE - 1);
        const long long after = now_ms();
        if (after - before > slowest)
            slowest = after - before;
        if (code == TEL_OK) {
            ++accepted;
            last_accepted = after;
        } else {
            ++full;
            if (!CHECK_EQ(code, TEL_ERR_FULL))
                break;
            pause_ms(1);
        }
        before = now_ms();
    }
    printf("       %" PRIu64 " lines until full; the slowest submit took %lld ms\n", accepted, slowest);
    CHECK(full > 0 && before - last_accepted >= 500);
    CHECK(accepted * sizeof LINE <= 1048576 + 2097152); /* the bounds on memory hold */
    CHECK(slowest < 1000 * patience());

    long long began = now_ms();
    CHECK_EQ(tel_flush(p, 100), TEL_ERR_TIMEOUT);
    CHECK(now_ms() - began >= 99);
    CHECK(now_ms() - began < 1100 * patience());
    began = now_ms();
    CHECK_EQ(tel_flush(p, 0), TEL_ERR_TIMEOUT);
    CHECK(now_ms() - began < 500 * patience());
    const tel_stats open = stats_of(p);
    CHECK_EQ(open.submitted, accepted + full);
    CHECK_EQ(open.dropped_full, full);
    CHECK(open.in_flight > 0);
    CHECK(open.oldest_undelivered_ms > 0);

    began = now_ms();
    CHECK_EQ(tel_producer_close(p, 1000), TEL_ERR_TIMEOUT);
    const long long took = now_ms() - began;
    printf("       close(1000) took %lld ms\n", took);
    CHECK(took <= 1100 * patience());

    const tel_stats closed = settled_stats_of(p);
    CHECK_EQ(closed.submitted, accepted + full);
    CHECK_EQ(closed.delivered, 0);
    CHECK_EQ(closed.in_flight, 0);
    CHECK_EQ(closed.failed, accepted);
    CHECK_IDENTITY(p);
    char *text = stats_text(p);
    CHECK(text && number_in(text, "total", "submitted") == (long long)(accepted + full));
    CHECK(text && number_in(text, "good", "routed") >= 0);
    free(text);
    tel_producer_free(p);
}

/* The host comes up all the same, and its operator gets to know: from the log, and from the statistics. */
static void test_unreachable_broker_is_reported(void)
{
    struct log_book book;
    log_book_open(&book);
    const tel_options options = log_to(&book);
    tel_producer *p = started(UNREACHABLE, &options);
    if (!p)
        return;
    AWAIT(log_has(&book, "127.0.0.1:1"), 5000);
    AWAIT(log_lowest(&book) <= 4, 5000); /* a warning or an error, not only a remark */
    bool told = false;
    const long long end = now_ms() + 5000 * patience();
    while (!told && now_ms() < end) {
        char *text = stats_text(p);
        told = text && strstr(text, "\"kafka_trouble\":") && !strstr(text, "\"kafka_trouble\":\"\"");
        free(text);
        pause_ms(10);
    }
    CHECK(told);
    tel_producer_free(p);
}

static void test_free_alone_keeps_to_the_exit_timeout(void)
{
    const tel_options options = quiet();
    tel_producer *p = started(UNREACHABLE, &options);
    if (!p)
        return;
    for (int i = 0; i < 1000; ++i)
        CHECK_EQ(tel_submit(p, LINE, sizeof LINE - 1), TEL_OK);
    const long long began = now_ms();
    tel_producer_free(p);
    const long long took = now_ms() - began;
    CHECK(took >= EXIT_MS - 1); /* the lines had that time to get out */
    CHECK(took <= (EXIT_MS + 600) * patience());
}

static void test_close_with_no_time_at_all(void)
{
    const tel_options options = quiet();
    tel_producer *p = started(UNREACHABLE, &options);
    if (!p)
        return;
    for (int i = 0; i < 1000; ++i)
        CHECK_EQ(tel_submit(p, LINE, sizeof LINE - 1), TEL_OK);
    const long long began = now_ms();
    CHECK_EQ(tel_producer_close(p, 0), TEL_ERR_TIMEOUT);
    CHECK(now_ms() - began <= 100 * patience());
    CHECK_EQ(settled_stats_of(p).failed, 1000);
    CHECK_IDENTITY(p);
    tel_producer_free(p);
}

/* ---- closing under load ---- */

struct submitter {
    tel_producer *tel;
    pthread_t thread;
    uint64_t accepted, full;
    int last;
};

static void *submit_until_refused(void *argument)
{
    struct submitter *self = argument;
    do {
        self->last = tel_submit(self->tel, LINE, sizeof LINE - 1);
        self->accepted += self->last == TEL_OK;
        self->full += self->last == TEL_ERR_FULL;
    } while (self->last == TEL_OK || self->last == TEL_ERR_FULL);
    return NULL;
}

/* Threads that run into the close get OK, FULL or CLOSED, and each line that got OK is in the account. */
static void close_under_load(const char *config, int close_ms)
{
    enum { THREADS = 3 };
    const tel_options options = quiet();
    tel_producer *p = started(config, &options);
    if (!p)
        return;
    struct submitter submitters[THREADS];
    memset(submitters, 0, sizeof submitters);
    for (int i = 0; i < THREADS; ++i) {
        submitters[i].tel = p;
        if (!CHECK_EQ(pthread_create(&submitters[i].thread, NULL, submit_until_refused, &submitters[i]), 0))
            exit(2);
    }
    AWAIT(stats_of(p).submitted > 10000, 5000);
    const long long began = now_ms();
    const int code = tel_producer_close(p, close_ms);
    const long long took = now_ms() - began;
    printf("       close(%d) took %lld ms\n", close_ms, took);
    CHECK(took <= (close_ms + 100) * patience());
    uint64_t accepted = 0, full = 0;
    for (int i = 0; i < THREADS; ++i) {
        pthread_join(submitters[i].thread, NULL);
        CHECK_EQ(submitters[i].last, TEL_ERR_CLOSED);
        accepted += submitters[i].accepted;
        full += submitters[i].full;
    }
    const tel_stats s = settled_stats_of(p);
    CHECK_EQ(s.submitted, accepted + full);
    CHECK_EQ(s.dropped_full, full);
    CHECK_EQ(s.delivered + s.failed, accepted);
    CHECK_EQ(s.in_flight, 0);
    CHECK_EQ(code == TEL_OK, s.failed == 0);
    CHECK_IDENTITY(p);
    tel_producer_free(p);
}

static void test_close_while_threads_submit(void) { close_under_load(EMBEDDED, 10000); }
static void test_close_while_threads_submit_to_nobody(void) { close_under_load(UNREACHABLE, 500); }

/* A flush ahead of the batching time does not wait for it, and neither does a close. */
static void test_flush_does_not_wait_for_the_batching_time(void)
{
    const tel_options options = quiet();
    tel_producer *p = started("{'embedded_broker': true, 'kafka': {'queue.buffering.max.ms': 300000}}", &options);
    if (!p)
        return;
    CHECK_EQ(tel_submit(p, LINE, sizeof LINE - 1), TEL_OK);
    CHECK_EQ(tel_flush(p, FLUSH_MS), TEL_OK);
    CHECK_EQ(stats_of(p).delivered, 1);
    CHECK_EQ(tel_flush(p, 0), TEL_OK); /* there is nothing to wait for */
    CHECK_EQ(tel_flush(p, -1), TEL_OK);
    CHECK_EQ(tel_submit(p, LINE, sizeof LINE - 1), TEL_OK);
    CHECK_EQ(tel_producer_close(p, FLUSH_MS), TEL_OK);
    CHECK_EQ(stats_of(p).delivered, 2);
    tel_producer_free(p);
}

/* ---- exit ---- */

/* Written by a child, read by this process. */
static struct {
    long long left_main_at;
} *shared;

/* Of a child that leaves its producer to the exit handler: looked at when all exit handlers have run. */
static tel_producer *left_behind;
static uint64_t left_lines;

__attribute__((destructor)) static void look_after_the_exit_handlers(void)
{
    tel_stats s;
    if (!left_behind)
        return;
    if (tel_get_stats(left_behind, &s, sizeof s) != TEL_OK || s.delivered != left_lines || s.in_flight != 0) {
        fprintf(stderr, "after exit: %" PRIu64 " of %" PRIu64 " lines delivered, %" PRIu64 " in flight\n", s.delivered,
                left_lines, s.in_flight);
        _exit(3);
    }
}

static void exits_with_lines_for_nobody(void *argument)
{
    (void)argument;
    const tel_options options = quiet();
    tel_producer *p = started(UNREACHABLE, &options);
    for (int i = 0; p && i < 1000; ++i)
        CHECK_EQ(tel_submit(p, LINE, sizeof LINE - 1), TEL_OK);
    shared->left_main_at = now_ms();
}

static void exits_while_threads_submit(void *argument)
{
    (void)argument;
    static struct submitter submitters[2]; /* outlives this function: the threads go on during exit */
    const tel_options options = quiet();
    tel_producer *p = started(UNREACHABLE, &options);
    for (int i = 0; p && i < 2; ++i) {
        submitters[i].tel = p;
        CHECK_EQ(pthread_create(&submitters[i].thread, NULL, submit_until_refused, &submitters[i]), 0);
    }
    if (p)
        AWAIT(stats_of(p).submitted > 10000, 5000);
    shared->left_main_at = now_ms();
}

/* The batching time is a second here: the exit handler has to send what waits for it. */
static void exits_with_lines_for_a_broker(void *argument)
{
    (void)argument;
    const tel_options options = quiet();
    tel_producer *p = started("{'embedded_broker': true, 'exit_timeout_ms': 20000}", &options);
    for (int i = 0; p && i < 1000; ++i)
        CHECK_EQ(tel_submit(p, LINE, sizeof LINE - 1), TEL_OK);
    left_behind = p;
    left_lines = 1000;
}

static void exits_in_time(void (*scenario)(void *))
{
    shared->left_main_at = 0;
    CHECK_EQ(await_child(fork_scenario(scenario, NULL), CHILD_MS), 0);
    const long long took = now_ms() - shared->left_main_at;
    printf("       exit took %lld ms\n", took);
    CHECK(shared->left_main_at > 0);
    CHECK(took >= EXIT_MS - 1); /* a broker that came back in that time would get the lines */
    CHECK(took <= (EXIT_MS + 1000) * patience());
}

static void test_exit_without_free_is_bounded(void) { exits_in_time(exits_with_lines_for_nobody); }
static void test_exit_while_threads_submit_is_bounded(void) { exits_in_time(exits_while_threads_submit); }

static void test_exit_without_free_delivers(void)
{
    CHECK_EQ(await_child(fork_scenario(exits_with_lines_for_a_broker, NULL), CHILD_MS), 0);
}

/* ---- nothing is left behind ---- */

static void makes_and_frees_64(void *argument)
{
    (void)argument;
    enum { TOTAL = 64, AT_ONCE = 8 };
    const int threads = threads_now(), descriptors = descriptors_now();
    const tel_options options = quiet();
    for (int made = 0; made < TOTAL; made += AT_ONCE) {
        tel_producer *producers[AT_ONCE];
        for (int i = 0; i < AT_ONCE; ++i) {
            producers[i] = started(EMBEDDED, &options);
            if (!producers[i])
                return;
            CHECK_EQ(tel_submit(producers[i], LINE, sizeof LINE - 1), TEL_OK);
        }
        CHECK(threads_now() > threads); /* or the check at the end would show nothing */
        CHECK(descriptors_now() > descriptors);
        for (int i = 0; i < AT_ONCE; ++i) {
            CHECK_EQ(tel_flush(producers[i], FLUSH_MS), TEL_OK);
            CHECK_EQ(stats_of(producers[i]).delivered, 1);
            tel_producer_free(producers[i]);
        }
    }
    AWAIT(threads_now() == threads, 5000);
    AWAIT(descriptors_now() == descriptors, 5000);
    CHECK_EQ(threads_now(), threads);
    CHECK_EQ(descriptors_now(), descriptors);
}

/* In a child: producers of earlier tests that were closed past their deadline may have threads left in this process. */
static void test_64_producers_made_and_freed(void)
{
    CHECK_EQ(await_child(fork_scenario(makes_and_frees_64, NULL), 120000), 0);
}

/* The same for a broker that is not there, as long as nothing waits for it. */
static void frees_without_a_broker(void *argument)
{
    (void)argument;
    const int threads = threads_now(), descriptors = descriptors_now();
    const tel_options options = quiet();
    for (int i = 0; i < 4; ++i) {
        tel_producer *p = started(UNREACHABLE, &options);
        if (!p)
            return;
        CHECK(threads_now() > threads);
        CHECK_EQ(tel_producer_close(p, 5000), TEL_OK);
        AWAIT(threads_now() == threads, 5000); /* close stops the threads, not only free */
        tel_producer_free(p);
    }
    AWAIT(descriptors_now() == descriptors, 5000);
}

static void test_idle_producers_close_whole_without_a_broker(void)
{
    CHECK_EQ(await_child(fork_scenario(frees_without_a_broker, NULL), CHILD_MS), 0);
}

/* ---- signals ---- */

/* A thread's blocked signals, as the kernel has them; all of them if the thread has gone meanwhile. */
static unsigned long long blocked_by(const char *thread)
{
    char path[300], line[256];
    unsigned long long mask = ~0ULL;
    snprintf(path, sizeof path, "/proc/self/task/%.200s/status", thread);
    FILE *status = fopen(path, "r");
    if (!status)
        return mask;
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "SigBlk:", 7) == 0)
            mask = strtoull(line + 7, NULL, 16);
    fclose(status);
    return mask;
}

/* The number of threads, ours (the main one) apart, that would take a signal; *others is how many there are. */
static int threads_that_take_signals(int *others)
{
    /* KILL and STOP cannot be blocked; glibc keeps 32 and 33 for itself and lets nobody block them. */
    const unsigned long long never = 1ULL << (SIGKILL - 1) | 1ULL << (SIGSTOP - 1) | 1ULL << 31 | 1ULL << 32;
    char own[32];
    int open = 0;
    *others = 0;
    snprintf(own, sizeof own, "%ld", (long)getpid()); /* the main thread's id is the process's */
    DIR *folder = opendir("/proc/self/task");
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, own) == 0)
            continue;
        ++*others;
        open += (blocked_by(entry->d_name) | never) != ~0ULL;
    }
    if (folder)
        closedir(folder);
    return open;
}

static void blocks_signals(void *argument)
{
    const char *config = argument;
    int others = 0;
    sigset_t before, after, usr1, pending;
    sigemptyset(&before);
    sigemptyset(&after);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    const tel_options options = quiet();
    tel_producer *p = started(config, &options);
    if (!p)
        return;
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int s = 1; s < 32; ++s)
        CHECK_EQ(sigismember(&after, s), sigismember(&before, s)); /* the caller's own mask is as it was */

    CHECK_EQ(tel_submit(p, LINE, sizeof LINE - 1), TEL_OK);
    if (getenv("TEL_TEST_VALGRIND")) /* handles signals itself, and the kernel knows of its masks only */
        threads_that_take_signals(&others);
    else
        AWAIT(threads_that_take_signals(&others) == 0, 2000);
    CHECK(others > 0);
    printf("       %d threads of the library\n", others);

    /* Blocked here too, a signal to the process finds no taker and stays pending; its default action is the end. */
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    kill(getpid(), SIGUSR1);
    tel_flush(p, 200);
    CHECK_EQ(sigpending(&pending), 0);
    CHECK(sigismember(&pending, SIGUSR1));
    tel_producer_close(p, 100);
    CHECK_EQ(settled_stats_of(p).in_flight, 0);
    CHECK_IDENTITY(p);
    tel_producer_free(p);
}

static void test_library_threads_block_all_signals(void)
{
    CHECK_EQ(await_child(fork_scenario(blocks_signals, (void *)EMBEDDED), CHILD_MS), 0);
    CHECK_EQ(await_child(fork_scenario(blocks_signals, (void *)UNREACHABLE), CHILD_MS), 0);
}

/* ---- log ---- */

/* Static: a call after the end of the producer has to find something to be counted in. */
static struct log_book book_of_close, book_of_free, book_of_embedded;

static void use_and_free(struct log_book *book, const char *config, bool close_first)
{
    log_book_open(book);
    const tel_options options = log_to(book);
    tel_producer *p = started(config, &options);
    if (!p)
        return;
    for (int i = 0; i < 1000; ++i)
        CHECK_EQ(tel_submit(p, LINE, sizeof LINE - 1), TEL_OK);
    tel_flush(p, 200);
    AWAIT(log_calls(book) > 0, 5000);
    if (close_first) {
        CHECK_EQ(tel_producer_close(p, 100), TEL_ERR_TIMEOUT);
        CHECK_EQ(settled_stats_of(p).failed, 1000);
        CHECK_IDENTITY(p);
    }
    tel_producer_free(p);
    pthread_mutex_lock(&book->lock);
    book->over = 1;
    pthread_mutex_unlock(&book->lock);
}

/* A broker that is not there, a list's bad entry, settings that are ignored: the host gets to hear of each. */
static void test_log_goes_to_the_callback(void)
{
    use_and_free(&book_of_close, UNREACHABLE, true);
    use_and_free(&book_of_free, UNREACHABLE, false);
    use_and_free(&book_of_embedded, "{'embedded_broker': true, 'kafka': {'security.protocol': 'ssl'}}", false);
    struct log_book *const books[] = { &book_of_close, &book_of_free, &book_of_embedded };
    for (int i = 0; i < 3; ++i) {
        CHECK(log_lowest(books[i]) >= 3);
        CHECK(books[i]->highest <= 7);
        CHECK_EQ(books[i]->without_text, 0);
    }
    CHECK(log_has(&book_of_embedded, "security.protocol"));
}

/* The last test, so that the engines abandoned by then have had all the time of the others. */
static void test_log_is_silent_after_free(void)
{
    const long long end = now_ms() + 1500; /* longer than an engine needs to complain of its broker again */
    struct log_book *const books[] = { &book_of_close, &book_of_free, &book_of_embedded };
    for (int i = 0; i < 3; ++i) {
        CHECK_EQ(books[i]->over, 1);
        while (now_ms() < end && books[i]->late == 0)
            pause_ms(10);
        CHECK_EQ(books[i]->late, 0);
    }
}

int main(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    RUN(test_log_goes_to_the_callback);
    RUN(test_unreachable_broker);
    RUN(test_unreachable_broker_is_reported);
    RUN(test_free_alone_keeps_to_the_exit_timeout);
    RUN(test_close_with_no_time_at_all);
    RUN(test_close_while_threads_submit);
    RUN(test_close_while_threads_submit_to_nobody);
    RUN(test_flush_does_not_wait_for_the_batching_time);
    RUN(test_exit_without_free_is_bounded);
    RUN(test_exit_while_threads_submit_is_bounded);
    RUN(test_exit_without_free_delivers);
    RUN(test_64_producers_made_and_freed);
    RUN(test_idle_producers_close_whole_without_a_broker);
    RUN(test_library_threads_block_all_signals);
    RUN(test_log_is_silent_after_free);
    return summary();
}
