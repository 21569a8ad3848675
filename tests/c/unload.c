/* unload - a host that loads libtel at run time and lets go of it, as varnishd does with a VMOD at every vcl.discard:
 * the library stays, its threads go on, and the process ends cleanly. This program is not linked with libtel.
 */
#define _DEFAULT_SOURCE

#include <dlfcn.h>
#include <stdbool.h>

#include "check.h"

enum { CHILD_MS = 30000 };

/* The functions of a copy of the library that was loaded by hand. */
struct library {
    void *handle;
    tel_producer *(*producer_new)(const char *, const tel_options *, char *, size_t);
    int (*set_clients)(tel_producer *, const char *, size_t, char *, size_t);
    int (*submit)(tel_producer *, const char *, size_t);
    int (*get_stats)(const tel_producer *, tel_stats *, size_t);
    int (*flush)(tel_producer *, int);
};

static void find(void *handle, const char *name, void *function)
{
    void *found = dlsym(handle, name);
    if (!CHECK(found != NULL))
        exit(2);
    memcpy(function, &found, sizeof found); /* ISO C has no cast from an object's address to a function's */
}

static void load(struct library *tel, int scope)
{
    tel->handle = dlopen("libtel.so.0", RTLD_NOW | scope);
    if (!tel->handle) {
        fprintf(stderr, "%s\n", dlerror());
        exit(2);
    }
    find(tel->handle, "tel_producer_new", &tel->producer_new);
    find(tel->handle, "tel_set_clients", &tel->set_clients);
    find(tel->handle, "tel_submit", &tel->submit);
    find(tel->handle, "tel_get_stats", &tel->get_stats);
    find(tel->handle, "tel_flush", &tel->flush);
}

/* A producer with 100 lines on their way. */
static tel_producer *begin(const struct library *tel, const char *config)
{
    char reason[512];
    const tel_options options = quiet();
    tel_producer *p = tel->producer_new(json(config), &options, reason, sizeof reason);
    if (!CHECK(p != NULL)) {
        fprintf(stderr, "%s\n", reason);
        exit(2);
    }
    const char *list = json("{'revision': 1, 'clients': [{'id': 'good'}]}");
    CHECK_EQ(tel->set_clients(p, list, strlen(list), NULL, 0), TEL_OK);
    for (int i = 0; i < 100; ++i)
        CHECK_EQ(tel->submit(p, "good line", 9), TEL_OK);
    return p;
}

static uint64_t delivered(const struct library *tel, const tel_producer *p)
{
    tel_stats s;
    memset(&s, 0, sizeof s);
    CHECK_EQ(tel->get_stats(p, &s, sizeof s), TEL_OK);
    return s.delivered;
}

/* -z nodelete: the last dlclose takes nothing away. */
static void goes_on_delivering(void *scope)
{
    struct library tel;
    load(&tel, *(int *)scope);
    tel_producer *p = begin(&tel, "{'embedded_broker': true, 'kafka': {'queue.buffering.max.ms': 200}}");
    CHECK_EQ(dlclose(tel.handle), 0);
    AWAIT(delivered(&tel, p) == 100, 10000);
    CHECK_EQ(tel.submit(p, "good line", 9), TEL_OK);
    CHECK_EQ(tel.flush(p, 10000), TEL_OK);
    CHECK_EQ(delivered(&tel, p), 101);
}

static void exits_at_once(void *config)
{
    struct library tel;
    load(&tel, RTLD_LOCAL);
    begin(&tel, config);
    CHECK_EQ(dlclose(tel.handle), 0);
}

static void loads_again_and_again(void *unused)
{
    (void)unused;
    for (int i = 0; i < 5; ++i) {
        struct library tel;
        load(&tel, RTLD_LOCAL);
        tel_producer *p = begin(&tel, "{'embedded_broker': true, 'kafka': {'queue.buffering.max.ms': 5}}");
        CHECK_EQ(tel.flush(p, 10000), TEL_OK);
        CHECK_EQ(delivered(&tel, p), 100);
        CHECK_EQ(dlclose(tel.handle), 0); /* and the producer stays, for the exit handler */
    }
}

static void loads_and_does_nothing(void *unused)
{
    (void)unused;
    for (int i = 0; i < 5; ++i) {
        struct library tel;
        load(&tel, RTLD_LOCAL);
        CHECK_EQ(dlclose(tel.handle), 0);
        void *still = dlopen("libtel.so.0", RTLD_NOW | RTLD_NOLOAD); /* only what is mapped is found so */
        if (CHECK(still != NULL))
            dlclose(still);
    }
}

/* ---- tests: each in a child, which ends by exit() with all that it has loaded ---- */

static void test_unloaded_with_a_live_producer(void)
{
    int local = RTLD_LOCAL, global = RTLD_GLOBAL; /* Varnish, nginx */
    CHECK_EQ(await_child(fork_scenario(goes_on_delivering, &local), CHILD_MS), 0);
    CHECK_EQ(await_child(fork_scenario(goes_on_delivering, &global), CHILD_MS), 0);
}

static void test_unloaded_and_exit(void)
{
    static char embedded[] = "{'embedded_broker': true}";
    static char nobody[] = "{'kafka': {'bootstrap.servers': '127.0.0.1:1'}, 'exit_timeout_ms': 300}";
    CHECK_EQ(await_child(fork_scenario(exits_at_once, embedded), CHILD_MS), 0);
    const long long began = now_ms();
    CHECK_EQ(await_child(fork_scenario(exits_at_once, nobody), CHILD_MS), 0);
    CHECK(now_ms() - began >= 299); /* the lines had that time */
    CHECK(now_ms() - began <= (300 + 2000) * patience());
}

static void test_loaded_again_and_again(void)
{
    CHECK_EQ(await_child(fork_scenario(loads_again_and_again, NULL), CHILD_MS), 0);
}

static void test_loaded_for_nothing(void)
{
    CHECK_EQ(await_child(fork_scenario(loads_and_does_nothing, NULL), CHILD_MS), 0);
}

int main(void)
{
    RUN(test_unloaded_with_a_live_producer);
    RUN(test_unloaded_and_exit);
    RUN(test_loaded_again_and_again);
    RUN(test_loaded_for_nothing);
    return summary();
}
