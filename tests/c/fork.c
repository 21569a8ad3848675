/* fork - a process with a producer forks while its threads submit. The child's calls are refused and touch nothing, a
 * producer of the child's own delivers, both end cleanly, and the parent loses nothing.
 */
#define _DEFAULT_SOURCE /* vfork */

#include <spawn.h>
#include <stdbool.h>

#include "check.h"

enum { SUBMITTERS = 4, FLUSH_MS = 20000, CHILD_MS = 20000 };

static const char CONFIG[] = "{'embedded_broker': true, 'kafka': {'queue.buffering.max.ms': 5}}";
static const char LIST[] = "{'revision': 1, 'clients': [{'id': 'good'}]}";

extern char **environ;

/* ---- a host at work ---- */

struct submitter {
    tel_producer *tel;
    const bool *stop; /* read and written with __atomic_: C99 has no atomics */
    pthread_t thread;
    uint64_t accepted, full, other;
};

struct host {
    tel_producer *tel;
    struct log_book log;
    bool stop;
    struct submitter submitters[SUBMITTERS];
};

static void *submit_until_told(void *argument)
{
    struct submitter *self = argument;
    while (!__atomic_load_n(self->stop, __ATOMIC_ACQUIRE)) {
        for (int i = 0; i < 50; ++i) {
            switch (submit_text(self->tel, "good a line of the parent")) {
            case TEL_OK:
                __atomic_add_fetch(&self->accepted, 1, __ATOMIC_RELEASE);
                break;
            case TEL_ERR_FULL:
                ++self->full;
                break;
            default:
                ++self->other;
            }
        }
        pause_ms(1); /* busy, and not at the cost of all else on the machine */
    }
    return NULL;
}

static uint64_t accepted_by(const struct submitter *s) { return __atomic_load_n(&s->accepted, __ATOMIC_ACQUIRE); }

/* A producer with threads that submit; on return each of them is under way. */
static bool host_begins(struct host *host)
{
    memset(host, 0, sizeof *host);
    log_book_open(&host->log);
    const tel_options options = log_to(&host->log);
    host->tel = start(CONFIG, &options);
    if (!host->tel || !CHECK_EQ(set_clients(host->tel, LIST), TEL_OK))
        return false;
    for (int i = 0; i < SUBMITTERS; ++i) {
        struct submitter *s = &host->submitters[i];
        s->tel = host->tel;
        s->stop = &host->stop;
        if (!CHECK_EQ(pthread_create(&s->thread, NULL, submit_until_told, s), 0))
            exit(2);
    }
    for (int i = 0; i < SUBMITTERS; ++i)
        AWAIT(accepted_by(&host->submitters[i]) > 100, 5000);
    return true;
}

/* The lines go on after what was done to the process. */
static void host_goes_on(struct host *host)
{
    for (int i = 0; i < SUBMITTERS; ++i) {
        const uint64_t before = accepted_by(&host->submitters[i]);
        AWAIT(accepted_by(&host->submitters[i]) > before + 100, 5000);
    }
    const uint64_t delivered = stats_of(host->tel).delivered;
    AWAIT(stats_of(host->tel).delivered > delivered, 10000);
}

/* Every line that the threads got in is delivered, and everything else is counted; unknown of them are lines that the
 * test itself submitted for nobody. */
static void host_ends(struct host *host, uint64_t unknown)
{
    uint64_t accepted = 0, full = 0;
    __atomic_store_n(&host->stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < SUBMITTERS; ++i) {
        pthread_join(host->submitters[i].thread, NULL);
        accepted += host->submitters[i].accepted;
        full += host->submitters[i].full;
        CHECK_EQ(host->submitters[i].other, 0);
    }
    CHECK_EQ(tel_flush(host->tel, FLUSH_MS), TEL_OK);
    const tel_stats s = stats_of(host->tel);
    CHECK_EQ(s.submitted, accepted + full + unknown);
    CHECK_EQ(s.delivered, accepted);
    CHECK_EQ(s.dropped_full, full);
    CHECK_EQ(s.unknown_client, unknown);
    CHECK_EQ(s.in_flight, 0);
    CHECK_IDENTITY(host->tel);
    CHECK_EQ(tel_producer_close(host->tel, 5000), TEL_OK);
    tel_producer_free(host->tel);
}

/* ---- what children do ---- */

/* Every call with the inherited producer says FORKED, at once. */
static void calls_are_refused(void *argument)
{
    struct host *host = argument;
    tel_producer *p = host->tel;
    const int calls = host->log.calls;
    char reason[256];
    tel_stats s, zero;

    CHECK_EQ(submit_text(p, "good line"), TEL_ERR_FORKED);
    CHECK_EQ(submit_text(p, ""), TEL_ERR_FORKED);
    CHECK_EQ(tel_submit_for(p, "good", 4, "line", 4), TEL_ERR_FORKED);
    CHECK_EQ(wants(p, "good"), 0);
    memset(reason, 0x5A, sizeof reason);
    CHECK_EQ(tel_set_clients(p, "{}", 2, reason, sizeof reason), TEL_ERR_FORKED);
    CHECK(memchr(reason, '\0', sizeof reason) != NULL);
    memset(reason, 0x5A, sizeof reason);
    CHECK_EQ(tel_reload_clients(p, "/dev/null", reason, sizeof reason), TEL_ERR_FORKED);
    CHECK(memchr(reason, '\0', sizeof reason) != NULL);
    CHECK_EQ(tel_reload_clients(p, NULL, NULL, 0), TEL_ERR_FORKED);
    CHECK_EQ(tel_flush(p, 0), TEL_ERR_FORKED);
    CHECK_EQ(tel_flush(p, -1), TEL_ERR_FORKED);
    memset(&s, 0x5A, sizeof s);
    memset(&zero, 0, sizeof zero);
    CHECK_EQ(tel_get_stats(p, &s, sizeof s), TEL_ERR_FORKED);
    CHECK(memcmp(&s, &zero, sizeof s) == 0); /* so that no caller takes chance for numbers */
    CHECK_EQ(tel_stats_json(p, NULL, 0), 0);
    CHECK_EQ(tel_stats_json(p, reason, sizeof reason), 0);
    CHECK_EQ(tel_producer_close(p, -1), TEL_ERR_FORKED);
    CHECK_EQ(tel_producer_close(p, 1000), TEL_ERR_FORKED);

    /* What needs no producer works as ever. */
    CHECK_EQ(tel_config_check(json(CONFIG), reason, sizeof reason), TEL_OK);
    CHECK(strcmp(tel_version(), "0.1.0") == 0);
    CHECK_EQ(tel_abi_version(), TEL_ABI_VERSION);
    CHECK(*tel_strerror(TEL_ERR_FORKED));

    CHECK_EQ(submit_text(p, "good line"), TEL_ERR_FORKED);
    tel_producer_free(p); /* waits for nothing, and ends nothing of the parent's */
    CHECK_EQ(host->log.calls, calls);
}

static void own_producer_delivers(void *argument)
{
    struct host *host = argument;
    const tel_options options = quiet();
    tel_producer *own = start(CONFIG, &options);
    if (!own)
        return;
    CHECK_EQ(set_clients(own, LIST), TEL_OK);
    for (int i = 0; i < 1000; ++i)
        CHECK_EQ(submit_text(own, "good a line of the child"), TEL_OK);
    CHECK_EQ(submit_text(host->tel, "good line"), TEL_ERR_FORKED); /* the other one stays refused */
    CHECK_EQ(tel_flush(own, FLUSH_MS), TEL_OK);
    const tel_stats s = stats_of(own);
    CHECK_EQ(s.submitted, 1000);
    CHECK_EQ(s.delivered, 1000);
    CHECK_IDENTITY(own);
    tel_producer_free(own);
}

/* Left for the exit handler, beside the inherited one. */
static void own_producer_left_unfreed(void *argument)
{
    (void)argument;
    const tel_options options = quiet();
    static tel_producer *own; /* as a host's, that keeps it to its end */
    own = start(CONFIG, &options);
    if (!own)
        return;
    CHECK_EQ(set_clients(own, LIST), TEL_OK);
    for (int i = 0; i < 1000; ++i)
        CHECK_EQ(submit_text(own, "good a line of the child"), TEL_OK);
}

static void nothing_at_all(void *argument) { (void)argument; }

/* A child of the child meets two producers that are not its own. */
static void child_forks_again(void *argument)
{
    struct host *host = argument;
    const tel_options options = quiet();
    struct host own;
    memset(&own, 0, sizeof own);
    own.tel = start(CONFIG, &options);
    if (!own.tel)
        return;
    CHECK_EQ(set_clients(own.tel, LIST), TEL_OK);
    CHECK_EQ(submit_text(own.tel, "good line"), TEL_OK);
    CHECK_EQ(await_child(fork_scenario(calls_are_refused, &own), CHILD_MS), 0);
    CHECK_EQ(await_child(fork_scenario(calls_are_refused, host), CHILD_MS), 0);
    CHECK_EQ(await_child(fork_scenario(own_producer_delivers, &own), CHILD_MS), 0);
    CHECK_EQ(submit_text(own.tel, "good line"), TEL_OK);
    CHECK_EQ(tel_flush(own.tel, FLUSH_MS), TEL_OK);
    CHECK_EQ(stats_of(own.tel).delivered, 2);
    tel_producer_free(own.tel);
}

/* ---- tests ---- */

static void beside_a_host(void (*scenario)(void *), int times, long long child_ms)
{
    struct host host;
    if (!host_begins(&host))
        return;
    for (int i = 0; i < times; ++i)
        CHECK_EQ(await_child(fork_scenario(scenario, &host), child_ms), 0);
    host_goes_on(&host);
    host_ends(&host, 0);
}

static void test_calls_in_the_child_are_refused(void) { beside_a_host(calls_are_refused, 5, CHILD_MS); }
static void test_child_with_its_own_producer(void) { beside_a_host(own_producer_delivers, 3, CHILD_MS); }
static void test_child_leaves_its_own_producer_to_exit(void) { beside_a_host(own_producer_left_unfreed, 1, CHILD_MS); }
static void test_child_of_a_child(void) { beside_a_host(child_forks_again, 1, 3 * CHILD_MS); }

/* The inherited producer has lines on their way and an exit handler: the child waits for neither. */
static void test_child_that_just_exits(void) { beside_a_host(nothing_at_all, 20, 1000); }

/* Lines that nobody delivers are the parent's: the child does not wait exit_timeout_ms for them. */
static void test_child_exits_beside_undelivered_lines(void)
{
    struct host host;
    memset(&host, 0, sizeof host);
    const tel_options options = quiet();
    host.tel = start("{'kafka': {'bootstrap.servers': '127.0.0.1:1'}, 'exit_timeout_ms': 600000}", &options);
    if (!host.tel)
        return;
    CHECK_EQ(set_clients(host.tel, LIST), TEL_OK);
    for (int i = 0; i < 100; ++i)
        CHECK_EQ(submit_text(host.tel, "good line"), TEL_OK);
    CHECK_EQ(await_child(fork_scenario(nothing_at_all, &host), 2000), 0);
    CHECK_EQ(await_child(fork_scenario(calls_are_refused, &host), 5000), 0);
    CHECK_EQ(stats_of(host.tel).submitted, 100);
    AWAIT(stats_of(host.tel).in_flight == 100, 2000); /* no counter is exact while lines move to a batch */
    CHECK(tel_producer_close(host.tel, 0) != TEL_OK);
    CHECK_EQ(settled_stats_of(host.tel).failed, 100);
    CHECK_IDENTITY(host.tel);
    tel_producer_free(host.tel);
}

/* A producer that is closed and freed in the parent leaves nothing that troubles a later child. */
static void test_fork_after_free(void)
{
    struct host host;
    if (!host_begins(&host))
        return;
    host_ends(&host, 0);
    struct host other;
    if (!host_begins(&other))
        return;
    CHECK_EQ(await_child(fork_scenario(own_producer_delivers, &other), CHILD_MS), 0);
    host_ends(&other, 0);
}

/* vfork borrows the parent's memory, posix_spawn may do so too: no guard may take that for a fork of the parent. */
static void test_vfork_and_spawn(void)
{
    struct host host;
    if (!host_begins(&host))
        return;
    for (int i = 0; i < 5; ++i) {
        char *arguments[] = { (char *)"true", NULL };
        pid_t child;
        CHECK_EQ(posix_spawnp(&child, "true", NULL, NULL, arguments, environ), 0);
        CHECK_EQ(await_child(child, CHILD_MS), 0);

        child = vfork();
        if (child == 0) {
            execvp("true", arguments);
            _exit(127);
        }
        CHECK(child > 0);
        CHECK_EQ(await_child(child, CHILD_MS), 0);
        CHECK_EQ(submit_text(host.tel, "nobody in particular"), TEL_OK);
    }
    host_goes_on(&host);
    host_ends(&host, 5);
}

int main(void)
{
    RUN(test_calls_in_the_child_are_refused);
    RUN(test_child_with_its_own_producer);
    RUN(test_child_leaves_its_own_producer_to_exit);
    RUN(test_child_of_a_child);
    RUN(test_child_that_just_exits);
    RUN(test_child_exits_beside_undelivered_lines);
    RUN(test_fork_after_free);
    RUN(test_vfork_and_spawn);
    return summary();
}
