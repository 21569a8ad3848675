/* bad_clients - a client list that is none changes nothing; a bad entry in a good list is left out alone. The list in
 * force goes on being served meanwhile.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, mkstemp */

#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "check.h"

enum { FLUSH_MS = 10000 };

static const char CONFIG[] = "{'embedded_broker': true, 'kafka': {'queue.buffering.max.ms': 5}}";

/* In force before each test. */
static const char OLD_LIST[] = "{'revision': 10, 'clients': [{'id': 'good'}, {'id': 'old'}]}";

/* Given right before an unreadable page: a parser that looks one byte past len ends the program. */
static int set_at_the_edge(tel_producer *p, const char *text, size_t len, char *reason, size_t size)
{
    enum { ROOM = 1 << 20 };
    static char *room;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!room) {
        room = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (room == MAP_FAILED || mprotect(room + ROOM, page, PROT_NONE) != 0) {
            perror("mmap");
            exit(2);
        }
    }
    memcpy(room + ROOM - len, text, len);
    return tel_set_clients(p, room + ROOM - len, len, reason, size);
}

static void check_old_list_in_force(int line, const tel_producer *p)
{
    const tel_stats s = stats_of(p);
    CHECK_EQ_AT(line, wants(p, "good"), 1);
    CHECK_EQ_AT(line, wants(p, "old"), 1);
    CHECK_EQ_AT(line, wants(p, "new"), 0);
    CHECK_EQ_AT(line, s.clients, 2);
    CHECK_EQ_AT(line, s.clients_revision, 10);
}

/* The bytes are no list: the error says so, and the old list stays. */
static void refuse_bytes(int line, tel_producer *p, const char *text, size_t len)
{
    char reason[512];
    note("the list %.300s", text);
    memset(reason, 0x5A, sizeof reason);
    CHECK_EQ_AT(line, set_at_the_edge(p, text, len, reason, sizeof reason), TEL_ERR_CLIENTS);
    CHECK_AT(line, memchr(reason, '\0', sizeof reason) != NULL);
    CHECK_AT(line, *reason != '\0');
    check_old_list_in_force(line, p);
    no_note();
}

/* The list is taken: nothing is said, "good" is served, "old" no longer. */
static void accept_text(int line, tel_producer *p, const char *text)
{
    char reason[512];
    note("the list %.300s", text);
    memset(reason, 0x5A, sizeof reason);
    if (!CHECK_EQ_AT(line, set_at_the_edge(p, text, strlen(text), reason, sizeof reason), TEL_OK))
        fprintf(stderr, "    %.511s\n", reason);
    CHECK_AT(line, *reason == '\0');
    CHECK_EQ_AT(line, wants(p, "good"), 1);
    CHECK_EQ_AT(line, wants(p, "old"), 0);
    no_note();
}

static void refuse_text(int line, tel_producer *p, const char *text) { refuse_bytes(line, p, text, strlen(text)); }

#define REFUSED(p, text) refuse_text(__LINE__, p, json(text))
#define ACCEPTED(p, text) accept_text(__LINE__, p, json(text))

/* ---- no list ---- */

static void test_list_truncated_at_every_byte(tel_producer *p)
{
    const char *list = json("{'revision': 11, 'clients': [ {'id': 'good'},\n"
                            "  {'id': 'new', 'topic': 'logs.n\\u0065w', 'sample': 0.125, 'max_lines_per_second': 20000,"
                            " 'later': [null, true, {'deep': -1.5}]} ], 'etag': 'x'}");
    const size_t whole = strlen(list);
    for (size_t len = 0; len < whole; ++len)
        refuse_bytes(__LINE__, p, list, len);
    accept_text(__LINE__, p, list);
    CHECK_EQ(wants(p, "new"), 1);
}

/* The same from a file, through tel_reload_clients: the list of a writer that does not write atomically. */
static void test_file_truncated_at_every_byte(tel_producer *p)
{
    char path[] = "/tmp/tel-bad-clients-XXXXXX";
    const int file = mkstemp(path);
    if (!CHECK(file >= 0))
        return;
    const char *list = json("{'revision': 11, 'clients': [{'id': 'good'}, {'id': 'new', 'sample': 0.5}]}");
    const size_t whole = strlen(list);
    for (size_t len = 0; len < whole; ++len) {
        char reason[512];
        note("%zu bytes of the file", len);
        CHECK(ftruncate(file, 0) == 0 && pwrite(file, list, len, 0) == (ssize_t)len);
        memset(reason, 0x5A, sizeof reason);
        CHECK_EQ(tel_reload_clients(p, path, reason, sizeof reason), TEL_ERR_CLIENTS);
        CHECK(memchr(reason, '\0', sizeof reason) && *reason);
        check_old_list_in_force(__LINE__, p);
    }
    no_note();
    CHECK(pwrite(file, list, whole, 0) == (ssize_t)whole);
    CHECK_EQ(tel_reload_clients(p, path, NULL, 0), TEL_OK);
    CHECK_EQ(wants(p, "new"), 1);
    CHECK_EQ(wants(p, "old"), 0);
    close(file);
    unlink(path);
}

static void test_file_that_cannot_be_read(tel_producer *p)
{
    /* A FIFO without a writer, and a file without an end: a reader that waits for either waits for ever. */
    char folder[] = "/tmp/tel-bad-clients-XXXXXX", fifo[64];
    if (!CHECK(mkdtemp(folder) != NULL))
        return;
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    const char *const paths[] = { "/no/such/list.json", "/tmp", "/dev/null", "", "/proc/self/mem", "/dev/zero", fifo };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; ++i) {
        char reason[512];
        note("the path %s", paths[i]);
        memset(reason, 0x5A, sizeof reason);
        const int code = tel_reload_clients(p, paths[i], reason, sizeof reason);
        CHECK(code == TEL_ERR_IO || code == TEL_ERR_CLIENTS);
        CHECK(memchr(reason, '\0', sizeof reason) && strstr(reason, paths[i]));
        check_old_list_in_force(__LINE__, p);
    }
    no_note();
    unlink(fifo);
    rmdir(folder);
}

static void test_not_such_an_object(tel_producer *p)
{
    REFUSED(p, "");
    REFUSED(p, " ");
    REFUSED(p, "{}");
    REFUSED(p, "[]");
    REFUSED(p, "[{'id': 'good'}]");
    REFUSED(p, "null");
    REFUSED(p, "7");
    REFUSED(p, "'good'");
    REFUSED(p, "{'revision': 11}");
    REFUSED(p, "{'revision': 11, 'clients': null}");
    REFUSED(p, "{'revision': 11, 'clients': {}}");
    REFUSED(p, "{'revision': 11, 'clients': {'id': 'good'}}");
    REFUSED(p, "{'revision': 11, 'clients': 'good'}");
    REFUSED(p, "{'revision': 11, 'Clients': [{'id': 'good'}]}");
    REFUSED(p, "{'revision': '11', 'clients': []}");
    REFUSED(p, "{'revision': -1, 'clients': []}");
    REFUSED(p, "{'revision': 1.5, 'clients': []}");
    REFUSED(p, "{'revision': [], 'clients': []}");
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good'}]} {}");
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good'}]}}");
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good'},]}");
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good'} {'id': 'new'}]}");
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good', 'sample': NaN}]}");
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good', 'sample': .5}]}");
    REFUSED(p, "revision = 11");
    refuse_bytes(__LINE__, p, "{\"revision\": 11, \"clients\": []}\0", 32); /* a NUL is no white space */
}

static void test_invalid_utf8(tel_producer *p)
{
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good'}, {'id': 'n\xFFw'}]}");
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good'}, {'id': 'new\xC3'}]}");
    REFUSED(p, "{'revision': 11, 'clients': [{'id': 'good'}, {'id': '\xED\xA0\x80'}]}");
    REFUSED(p, "\xFE\xFF");
}

static void test_deep_nesting(tel_producer *p)
{
    enum { DEPTH = 200000 };
    char *text = malloc(2 * DEPTH + 100);
    size_t used = (size_t)sprintf(text, "{\"revision\": 11, \"clients\": ");
    memset(text + used, '[', DEPTH);
    refuse_bytes(__LINE__, p, text, used + DEPTH); /* never closed: no list, however it is parsed */

    used = (size_t)sprintf(text, "{\"revision\": 11, \"clients\": [{\"id\": \"good\"}], \"later\": ");
    memset(text + used, '[', DEPTH);
    memset(text + used + DEPTH, ']', DEPTH);
    memcpy(text + used + 2 * DEPTH, "}", 2);
    /* Valid JSON in a field that is to be ignored, and deeper than any sane parser goes: taken or refused, but whole. */
    const int code = set_at_the_edge(p, text, strlen(text), NULL, 0);
    CHECK(code == TEL_OK || code == TEL_ERR_CLIENTS);
    CHECK_EQ(wants(p, "good"), 1);
    CHECK_EQ(wants(p, "old"), code != TEL_OK);
    free(text);
}

/* ---- bad entries among good ones ---- */

static const char *const BAD_ENTRIES[] = {
    /* no such id */
    "{'id': ''}", "{'id': 'a b'}", "{'id': 'a/b'}", "{'id': '../b'}", "{'id': 'a\\u0000b'}", "{'id': 'a\\nb'}",
    "{'id': 'caf\xC3\xA9'}", "{'id': '*'}", "{'id': 'a:b'}", "{'id': ' good'}",
    "{'id': '0123456789012345678901234567890123456789012345678901234567890123"
    "01234567890123456789012345678901234567890123456789012345678901234'}", /* 129 bytes */
    /* reserved */
    "{'id': '-'}", "{'id': '.'}", "{'id': '..'}", "{'id': '__consumer_offsets'}", "{'id': '__'}",
    /* not an entry */
    "{}", "{'name': 'new'}", "{'id': null}", "{'id': 7}", "{'id': ['new']}", "{'id': {'id': 'new'}}", "null", "[]", "7",
    "'new'", "true", "[{'id': 'new'}]", "{'ID': 'new'}",
    /* doubled: the first counts */
    "{'id': 'good'}", "{'id': 'good', 'topic': 'elsewhere'}", "{'id': 'good', 'sample': 0}",
    /* no such topic */
    "{'id': 'new', 'topic': ''}", "{'id': 'new', 'topic': 'a/b'}", "{'id': 'new', 'topic': 'a b'}",
    "{'id': 'new', 'topic': '.'}", "{'id': 'new', 'topic': '..'}", "{'id': 'new', 'topic': '__consumer_offsets'}",
    "{'id': 'new', 'topic': 7}", "{'id': 'new', 'topic': ['new']}", "{'id': 'new', 'topic': 'caf\xC3\xA9'}",
    "{'id': 'new', 'topic': 'a\\u0000b'}",
    "{'id': 'new', 'topic': '01234567890123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
    "0123456789012345678901234567890123456789012345678901234567890123456789'}", /* 250 bytes */
    /* no such share or rate */
    "{'id': 'new', 'sample': -0.1}", "{'id': 'new', 'sample': 1.1}", "{'id': 'new', 'sample': '0.5'}",
    "{'id': 'new', 'sample': [0.5]}", "{'id': 'new', 'sample': true}",
    "{'id': 'new', 'max_lines_per_second': -1}", "{'id': 'new', 'max_lines_per_second': '20000'}",
    "{'id': 'new', 'max_lines_per_second': {}}",
    "{'id': 'new', 'sample': 123456789012345678901234567890123456789012345678901234567890}",
};
enum { BAD_COUNT = sizeof BAD_ENTRIES / sizeof BAD_ENTRIES[0] };

static void test_each_bad_entry_is_left_out_alone(tel_producer *p)
{
    for (int i = 0; i < BAD_COUNT; ++i) {
        char list[1024];
        snprintf(list, sizeof list, "{'revision': 11, 'clients': [{'id': 'good'}, %s, {'id': 'last'}]}", BAD_ENTRIES[i]);
        ACCEPTED(p, list);
        note("the entry %s", BAD_ENTRIES[i]);
        CHECK_EQ(wants(p, "last"), 1);
        CHECK_EQ(wants(p, "new"), 0);
        CHECK_EQ(wants(p, "a b"), 0);
        CHECK_EQ(wants(p, "a/b"), 0);
        CHECK_EQ(wants(p, "-"), 0);
        CHECK_EQ(wants(p, "__consumer_offsets"), 0);
        const tel_stats s = stats_of(p);
        CHECK_EQ(s.clients, 2);
        CHECK_EQ(s.clients_revision, 11);
        CHECK(s.clients_rejected > 0);
    }
    no_note();
}

/* A number may be JSON and still fit no machine's: an entry with such a one is as bad as any, and as much alone. */
static void test_numbers_out_of_range(tel_producer *p)
{
    ACCEPTED(p, "{'revision': 11, 'clients': [{'id': 'good'}, {'id': 'new', 'sample': 1e999}]}");
    CHECK_EQ(wants(p, "new"), 0);
    ACCEPTED(p, "{'revision': 11, 'clients': [{'id': 'good'}, {'id': 'new', 'max_lines_per_second': -1e999}]}");
    CHECK_EQ(wants(p, "new"), 0);
    ACCEPTED(p, "{'revision': 11, 'clients': [{'id': 'good', 'later': 1e999}]}");
}

/* All in one list, on a producer that has seen none before: each is counted, once. */
static void test_bad_entries_are_counted_and_logged(tel_producer *unused)
{
    (void)unused;
    static char list[32768] = "{'revision': 11, 'clients': [{'id': 'good'}";
    for (int i = 0; i < BAD_COUNT; ++i)
        snprintf(list + strlen(list), sizeof list - strlen(list), ", %s", BAD_ENTRIES[i]);
    strcat(list, ", {'id': 'last'}]}");
    for (char *c = list; *c; ++c)
        if (*c == '\'')
            *c = '"';

    struct log_book book;
    log_book_open(&book);
    const tel_options options = log_to(&book);
    tel_producer *p = start(CONFIG, &options);
    if (!p)
        return;
    const int calls = log_calls(&book);
    CHECK_EQ(tel_set_clients(p, list, strlen(list), NULL, 0), TEL_OK);
    const tel_stats s = stats_of(p);
    CHECK_EQ(s.clients, 2);
    CHECK_EQ(s.clients_rejected, BAD_COUNT);
    AWAIT(log_calls(&book) > calls, 2000);
    CHECK_EQ(submit_text(p, "good line"), TEL_OK);
    CHECK_EQ(submit_text(p, "last line"), TEL_OK);
    CHECK_EQ(submit_text(p, "new line"), TEL_OK);
    CHECK_EQ(tel_flush(p, FLUSH_MS), TEL_OK);
    CHECK_EQ(stats_of(p).delivered, 2);
    CHECK_EQ(stats_of(p).unknown_client, 1);
    CHECK_IDENTITY(p);
    tel_producer_free(p);
}

/* The first of two entries with one id counts: this one wants nothing sampled. */
static void test_first_of_two_counts(tel_producer *p)
{
    ACCEPTED(p, "{'revision': 11, 'clients': [{'id': 'good'}, {'id': 'twice', 'sample': 0}, {'id': 'twice'}]}");
    const tel_stats before = stats_of(p);
    for (int i = 0; i < 20; ++i)
        CHECK_EQ(submit_text(p, "twice line"), TEL_OK);
    CHECK_EQ(tel_flush(p, FLUSH_MS), TEL_OK);
    const tel_stats now = stats_of(p);
    CHECK_EQ(now.sampled_out - before.sampled_out, 20);
    CHECK_EQ(now.delivered - before.delivered, 0);
}

/* ---- good entries at the limits, so that the limits above are not just closed doors ---- */

static void test_entries_at_the_limits(tel_producer *p)
{
    static const char *const entries[] = {
        "{'id': '-a'}", "{'id': '_a'}", "{'id': 'a.'}", "{'id': '...'}", "{'id': 'a_b-c.D9'}", "{'id': '--'}",
        "{'id': '0123456789012345678901234567890123456789012345678901234567890123"
        "0123456789012345678901234567890123456789012345678901234567890123'}", /* 128 bytes */
        "{'id': 'new', 'topic': '_new'}", "{'id': 'new', 'sample': 0}", "{'id': 'new', 'sample': 1}",
        "{'id': 'new', 'sample': 1e-400}", "{'id': 'new', 'sample': 1.0}", "{'id': 'new', 'max_lines_per_second': 1}",
        "{'id': 'new', 'max_lines_per_second': 4294967296}",
        "{'id': 'new', 'topic': '01234567890123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        "012345678901234567890123456789012345678901234567890123456789012345678'}", /* 249 bytes */
        "{'id': 'new', 'later': {'unknown': [1, 2, 3]}}", "{'later': [], 'id': 'new'}",
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; ++i) {
        char list[1024];
        snprintf(list, sizeof list, "{'revision': 11, 'clients': [{'id': 'good'}, %s]}", entries[i]);
        ACCEPTED(p, list);
        note("the entry %s", entries[i]);
        CHECK_EQ(stats_of(p).clients, 2);
        no_note();
    }
}

static void test_an_empty_list_serves_nobody(tel_producer *p)
{
    CHECK_EQ(set_clients(p, "{'revision': 11, 'clients': []}"), TEL_OK);
    CHECK_EQ(wants(p, "good"), 0);
    const tel_stats before = stats_of(p);
    CHECK_EQ(before.clients, 0);
    CHECK_EQ(submit_text(p, "good line"), TEL_OK);
    CHECK_EQ(tel_flush(p, FLUSH_MS), TEL_OK);
    CHECK_EQ(stats_of(p).unknown_client - before.unknown_client, 1);
}

static void test_an_explicit_list_may_go_back(tel_producer *p)
{
    ACCEPTED(p, "{'revision': 3, 'clients': [{'id': 'good'}]}");
    CHECK_EQ(stats_of(p).clients_revision, 3);
    ACCEPTED(p, "{'revision': 18446744073709551615, 'clients': [{'id': 'good'}]}");
    ACCEPTED(p, "{'revision': 0, 'clients': [{'id': 'good'}]}");
    CHECK_EQ(stats_of(p).clients_revision, 0);
}

/* ---- nothing else is affected ---- */

static void check_unharmed(tel_producer *p)
{
    CHECK_EQ(set_clients(p, OLD_LIST), TEL_OK);
    check_old_list_in_force(__LINE__, p);
    const uint64_t before = stats_of(p).delivered;
    CHECK_EQ(submit_text(p, "good line"), TEL_OK);
    CHECK_EQ(tel_flush(p, FLUSH_MS), TEL_OK);
    CHECK_EQ(stats_of(p).delivered - before, 1);
    CHECK_EQ(stats_of(p).in_flight, 0);
    CHECK_IDENTITY(p);
}

#define RUN_ON(p, test)   \
    do {                  \
        test_begins();    \
        test(p);          \
        no_note();        \
        check_unharmed(p);\
        test_ends(#test); \
    } while (0)

int main(void)
{
    const tel_options options = quiet();
    tel_producer *p = start(CONFIG, &options);
    if (!p || !CHECK_EQ(set_clients(p, OLD_LIST), TEL_OK))
        return 1;

    RUN_ON(p, test_list_truncated_at_every_byte);
    RUN_ON(p, test_file_truncated_at_every_byte);
    RUN_ON(p, test_file_that_cannot_be_read);
    RUN_ON(p, test_not_such_an_object);
    RUN_ON(p, test_invalid_utf8);
    RUN_ON(p, test_deep_nesting);
    RUN_ON(p, test_each_bad_entry_is_left_out_alone);
    RUN_ON(p, test_numbers_out_of_range);
    RUN_ON(p, test_bad_entries_are_counted_and_logged);
    RUN_ON(p, test_first_of_two_counts);
    RUN_ON(p, test_entries_at_the_limits);
    RUN_ON(p, test_an_empty_list_serves_nobody);
    RUN_ON(p, test_an_explicit_list_may_go_back);

    tel_producer_free(p);
    return summary();
}
