/* bad_input - every wrong line and every wrong call gives a clear error or a counted drop, never a crash, and disturbs
 * nothing else. (bad_config.c and bad_clients.c do the same for configurations and client lists.)
 *
 * Every line is handed over right before an unreadable page, so that reading one byte past its length ends the program.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include <limits.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "check.h"

enum { MAX_LINE = 512, ID_MAX = 128, FLUSH_MS = 10000 };

/* A batching time of 5 ms instead of a second: the tests flush often. */
static const char CONFIG[] = "{'embedded_broker': true, 'queue.max_line_bytes': 512,"
                             " 'kafka': {'queue.buffering.max.ms': 5}}";

/* ---- lines ---- */

typedef struct {
    const char *bytes;
    size_t len;
} span;

/* Of a literal, which may hold NULs. */
#define TEXT(literal) ((span){ (literal), sizeof(literal) - 1 })

static char scratch[3 << 20];

/* A span of count bytes, in scratch memory after what is already there. */
static span repeated(size_t offset, char byte, size_t count)
{
    memset(scratch + offset, byte, count);
    return (span){ scratch + offset, count };
}

/* "good " and as many letters as make the line len bytes long, then the newline. */
static span good_line(size_t len, const char *newline)
{
    repeated(0, 'x', len);
    memcpy(scratch, "good ", 5);
    memcpy(scratch + len, newline, strlen(newline));
    return (span){ scratch, len + strlen(newline) };
}

/* A copy of the span that ends where unreadable memory begins. Two of them may be in use: the client and the line. */
static const char *at_the_edge(int which, span s)
{
    enum { ROOM = 4 << 20 };
    static char *rooms[2];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!rooms[which]) {
        char *room = mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (room == MAP_FAILED || mprotect(room + ROOM, page, PROT_NONE) != 0) {
            perror("mmap");
            exit(2);
        }
        rooms[which] = room;
    }
    char *copy = rooms[which] + ROOM - s.len;
    if (s.len > 0)
        memcpy(copy, s.bytes, s.len);
    return copy;
}

/* Flushes, then compares every counter of the identity, and sanitized, with what the test expects to have moved. */
static void check_moved(int line, tel_producer *p, tel_stats before, tel_stats expected)
{
    CHECK_EQ_AT(line, tel_flush(p, FLUSH_MS), TEL_OK);
    const tel_stats now = stats_of(p);
#define MOVED(counter) CHECK_EQ_AT(line, now.counter - before.counter, expected.counter)
    MOVED(submitted);
    MOVED(recovered);
    MOVED(delivered);
    MOVED(failed);
    MOVED(dropped_full);
    MOVED(dropped_too_long);
    MOVED(dropped_rate);
    MOVED(dropped_spool);
    MOVED(sampled_out);
    MOVED(unknown_client);
    MOVED(malformed);
    MOVED(sanitized);
#undef MOVED
    CHECK_EQ_AT(line, now.spooled, 0);
    CHECK_EQ_AT(line, now.in_flight, 0);
    CHECK_EQ_AT(line, now.submitted + now.recovered, accounted(&now));
}

static void submits(int line, tel_producer *p, span text, int code, tel_stats moved)
{
    const tel_stats before = stats_of(p);
    CHECK_EQ_AT(line, tel_submit(p, at_the_edge(0, text), text.len), code);
    check_moved(line, p, before, moved);
}

static void submits_for(int line, tel_producer *p, span client, span text, int code, tel_stats moved)
{
    const tel_stats before = stats_of(p);
    CHECK_EQ_AT(line, tel_submit_for(p, at_the_edge(0, client), client.len, at_the_edge(1, text), text.len), code);
    check_moved(line, p, before, moved);
}

/* SUBMITS(p, text, code, .submitted = 1, .malformed = 1): the answer, and all the counters that move. */
#define SUBMITS(p, text, code, ...) submits(__LINE__, p, text, code, (tel_stats){ __VA_ARGS__ })
#define SUBMITS_FOR(p, client, text, code, ...) submits_for(__LINE__, p, client, text, code, (tel_stats){ __VA_ARGS__ })

#define DELIVERED .submitted = 1, .delivered = 1
#define MALFORMED .submitted = 1, .malformed = 1
#define UNKNOWN   .submitted = 1, .unknown_client = 1
#define TOO_LONG  .submitted = 1, .dropped_too_long = 1
#define NOTHING   .submitted = 0

static void test_a_good_line_is_delivered(tel_producer *p)
{
    SUBMITS(p, TEXT("good a line"), TEL_OK, DELIVERED);
    SUBMITS(p, TEXT("good a line\n"), TEL_OK, DELIVERED);
    SUBMITS(p, TEXT("good a line\r\n"), TEL_OK, DELIVERED);
    SUBMITS(p, TEXT("good caf\xC3\xA9 \xF0\x9F\x8D\xB5 \xFF\xFE"), TEL_OK, DELIVERED); /* a value is bytes, no text */
    SUBMITS_FOR(p, TEXT("good"), TEXT("a line"), TEL_OK, DELIVERED);
}

static void test_line_of_length_0(tel_producer *p)
{
    SUBMITS(p, TEXT(""), TEL_OK, MALFORMED);
    SUBMITS(p, TEXT("\n"), TEL_OK, MALFORMED);
    SUBMITS(p, TEXT("\r\n"), TEL_OK, MALFORMED);
    SUBMITS_FOR(p, TEXT("good"), TEXT(""), TEL_OK, MALFORMED);
}

static void test_no_space(tel_producer *p)
{
    SUBMITS(p, TEXT("good"), TEL_OK, MALFORMED);
    SUBMITS(p, TEXT("good\n"), TEL_OK, MALFORMED);
    SUBMITS(p, TEXT("good\ta line"), TEL_OK, MALFORMED); /* a tab is no space */
}

static void test_an_empty_value_is_a_line(tel_producer *p)
{
    SUBMITS(p, TEXT("good "), TEL_OK, DELIVERED);
    SUBMITS(p, TEXT("good \n"), TEL_OK, DELIVERED);
}

static void test_leading_space_is_an_empty_id(tel_producer *p)
{
    SUBMITS(p, TEXT(" good a line"), TEL_OK, MALFORMED);
    SUBMITS(p, TEXT(" "), TEL_OK, MALFORMED);
    SUBMITS(p, TEXT("   "), TEL_OK, MALFORMED);
    SUBMITS_FOR(p, TEXT(""), TEXT("good a line"), TEL_OK, MALFORMED);
}

static void test_second_space_belongs_to_the_value(tel_producer *p)
{
    SUBMITS(p, TEXT("good  two spaces"), TEL_OK, DELIVERED);
}

static void test_id_of_128_bytes(tel_producer *p)
{
    repeated(0, 'a', ID_MAX); /* is in the list */
    memcpy(scratch + ID_MAX, " line", 5);
    SUBMITS(p, ((span){ scratch, ID_MAX + 5 }), TEL_OK, DELIVERED);
    SUBMITS_FOR(p, ((span){ scratch, ID_MAX }), TEXT("line"), TEL_OK, DELIVERED);

    repeated(0, 'b', ID_MAX); /* is not */
    memcpy(scratch + ID_MAX, " line", 5);
    SUBMITS(p, ((span){ scratch, ID_MAX + 5 }), TEL_OK, UNKNOWN);
    SUBMITS_FOR(p, ((span){ scratch, ID_MAX }), TEXT("line"), TEL_OK, UNKNOWN);
}

static void test_id_of_129_bytes(tel_producer *p)
{
    repeated(0, 'a', ID_MAX + 1); /* begins with a good id */
    memcpy(scratch + ID_MAX + 1, " line", 5);
    SUBMITS(p, ((span){ scratch, ID_MAX + 1 + 5 }), TEL_OK, MALFORMED);
    SUBMITS_FOR(p, ((span){ scratch, ID_MAX + 1 }), TEXT("line"), TEL_OK, MALFORMED);
    CHECK_EQ(tel_wants(p, scratch, ID_MAX + 1), 0);
}

static void test_id_with_forbidden_bytes(tel_producer *p)
{
    static const span ids[] = { { "go/od", 5 },       { "go\0od", 5 },         { "good\0", 5 },   { "\0good", 5 },
                                { "g\xC3\xB6od", 5 }, { "\xEF\xBB\xBFgood", 7 }, { "good\xFF", 5 }, { "go\tod", 5 },
                                { "go\rod", 5 },      { "go\nod", 5 },         { "go:od", 5 },    { "../good", 7 },
                                { "good*", 5 },       { "\x7Fgood", 5 },       { "good\n", 5 } };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; ++i) {
        note("the id \"%s\" (%zu)", ids[i].bytes, i);
        memcpy(scratch, ids[i].bytes, ids[i].len);
        memcpy(scratch + ids[i].len, " line", 5);
        SUBMITS(p, ((span){ scratch, ids[i].len + 5 }), TEL_OK, MALFORMED);
        SUBMITS_FOR(p, ids[i], TEXT("line"), TEL_OK, MALFORMED);
        CHECK_EQ(tel_wants(p, ids[i].bytes, ids[i].len), 0);
    }
    no_note();
}

/* The id given apart is taken whole: nothing in it, or in the line, makes it another. */
static void test_submit_for_cannot_be_forged(tel_producer *p)
{
    SUBMITS_FOR(p, TEXT("good x"), TEXT("line"), TEL_OK, MALFORMED);
    SUBMITS_FOR(p, TEXT("good "), TEXT("line"), TEL_OK, MALFORMED);
    SUBMITS_FOR(p, TEXT(" good"), TEXT("line"), TEL_OK, MALFORMED);
    SUBMITS_FOR(p, TEXT("nobody"), TEXT("good line"), TEL_OK, UNKNOWN);
    SUBMITS_FOR(p, TEXT("nobody"), TEXT("x\ngood line"), TEL_OK, UNKNOWN);
    SUBMITS_FOR(p, TEXT("good"), TEXT(" "), TEL_OK, DELIVERED);
}

static void test_unknown_client(tel_producer *p)
{
    static const char *const ids[] = { "nobody", "Good", "GOOD", "goo", "good2", "-", ".", "..", "__good" };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; ++i) {
        note("the id \"%s\"", ids[i]);
        const tel_stats before = stats_of(p);
        char line[64];
        snprintf(line, sizeof line, "%s line", ids[i]);
        CHECK_EQ(submit_text(p, line), TEL_OK);
        check_moved(__LINE__, p, before, (tel_stats){ UNKNOWN });
        CHECK_EQ(wants(p, ids[i]), 0);
    }
    no_note();
    CHECK_EQ(wants(p, "good"), 1);
}

static void test_line_at_the_limit(tel_producer *p)
{
    SUBMITS(p, good_line(MAX_LINE, ""), TEL_OK, DELIVERED);
    SUBMITS(p, good_line(MAX_LINE, "\n"), TEL_OK, DELIVERED);
    SUBMITS(p, good_line(MAX_LINE, "\r\n"), TEL_OK, DELIVERED);

    const size_t value = MAX_LINE - 5; /* the client id counts, and a byte between */
    repeated(0, 'x', value);
    SUBMITS_FOR(p, TEXT("good"), ((span){ scratch, value }), TEL_OK, DELIVERED);
    scratch[value] = '\n';
    SUBMITS_FOR(p, TEXT("good"), ((span){ scratch, value + 1 }), TEL_OK, DELIVERED);
    memcpy(scratch + value, "\r\n", 2);
    SUBMITS_FOR(p, TEXT("good"), ((span){ scratch, value + 2 }), TEL_OK, DELIVERED);
}

static void test_line_one_over_the_limit(tel_producer *p)
{
    SUBMITS(p, good_line(MAX_LINE + 1, ""), TEL_ERR_TOO_LONG, TOO_LONG);
    SUBMITS(p, good_line(MAX_LINE + 1, "\n"), TEL_ERR_TOO_LONG, TOO_LONG);
    SUBMITS(p, good_line(MAX_LINE + 1, "\r\n"), TEL_ERR_TOO_LONG, TOO_LONG);
    SUBMITS(p, good_line(MAX_LINE, "\n\n"), TEL_ERR_TOO_LONG, TOO_LONG); /* only one newline is taken off */
    SUBMITS(p, good_line(MAX_LINE, "\r"), TEL_ERR_TOO_LONG, TOO_LONG);   /* and this is none */

    const size_t value = MAX_LINE - 5 + 1;
    repeated(0, 'x', value);
    SUBMITS_FOR(p, TEXT("good"), ((span){ scratch, value }), TEL_ERR_TOO_LONG, TOO_LONG);
    scratch[value] = '\n';
    SUBMITS_FOR(p, TEXT("good"), ((span){ scratch, value + 1 }), TEL_ERR_TOO_LONG, TOO_LONG);
    memcpy(scratch + value, "\r\n", 2);
    SUBMITS_FOR(p, TEXT("good"), ((span){ scratch, value + 2 }), TEL_ERR_TOO_LONG, TOO_LONG);
}

static void test_line_of_a_megabyte(tel_producer *p)
{
    SUBMITS(p, good_line(1 << 20, "\n"), TEL_ERR_TOO_LONG, TOO_LONG);
    SUBMITS(p, repeated(0, ' ', 1 << 20), TEL_ERR_TOO_LONG, TOO_LONG);
    SUBMITS(p, repeated(0, '\0', 1 << 20), TEL_ERR_TOO_LONG, TOO_LONG);
    SUBMITS_FOR(p, TEXT("good"), repeated(0, '\n', 1 << 20), TEL_ERR_TOO_LONG, TOO_LONG);
    SUBMITS_FOR(p, repeated(0, 'a', 1 << 20), TEXT("line"), TEL_ERR_TOO_LONG, TOO_LONG);
}

/* tel_submit(p, buffer, read(...)) after a failed read: a length that no line has, and that sums overflow with. It is
 * a mistake of the call, as NULL is, and counts nothing. */
static void test_length_of_minus_1(tel_producer *p)
{
    const span empty = TEXT("");
    const char *line = at_the_edge(0, empty);
    const tel_stats before = stats_of(p);
    CHECK_EQ(tel_submit(p, line, (size_t)-1), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, "good", 4, line, (size_t)-1), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, "good", 4, line, (size_t)-5), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, line, (size_t)-1, "line", 4), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, line, (size_t)-1, line, (size_t)-1), TEL_ERR_INVALID);
    CHECK_EQ(tel_wants(p, line, (size_t)-1), 0);
    check_moved(__LINE__, p, before, (tel_stats){ NOTHING });
}

static void test_control_bytes_inside_are_sanitized(tel_producer *p)
{
    SUBMITS(p, TEXT("good a\rb"), TEL_OK, DELIVERED, .sanitized = 1);
    SUBMITS(p, TEXT("good a\nb"), TEL_OK, DELIVERED, .sanitized = 1);
    SUBMITS(p, TEXT("good a\0b"), TEL_OK, DELIVERED, .sanitized = 1);
    SUBMITS(p, TEXT("good \r\n\0\r\n\0\r\n"), TEL_OK, DELIVERED, .sanitized = 1); /* a line counts once */
    SUBMITS(p, TEXT("good a\0"), TEL_OK, DELIVERED, .sanitized = 1);
    SUBMITS(p, TEXT("good a\r"), TEL_OK, DELIVERED, .sanitized = 1);
    SUBMITS(p, TEXT("good a\n\n"), TEL_OK, DELIVERED, .sanitized = 1); /* the last newline alone is taken off */
    SUBMITS(p, TEXT("good a\n\r\n"), TEL_OK, DELIVERED, .sanitized = 1);
    SUBMITS_FOR(p, TEXT("good"), TEXT("a\rb\nc\0d"), TEL_OK, DELIVERED, .sanitized = 1);
    SUBMITS_FOR(p, TEXT("good"), TEXT("\0"), TEL_OK, DELIVERED, .sanitized = 1);
    SUBMITS(p, TEXT("good a\tb\x1B[0m\x7F"), TEL_OK, DELIVERED); /* no other byte is touched */
}

/* A full line of bytes that all become two: the value grows over max_line_bytes on its way and still arrives. */
static void test_sanitizing_may_double_a_line(tel_producer *p)
{
    repeated(0, '\0', MAX_LINE);
    memcpy(scratch, "good ", 5);
    SUBMITS(p, ((span){ scratch, MAX_LINE }), TEL_OK, DELIVERED, .sanitized = 1);
}

static void test_null_line_or_client_counts_nothing(tel_producer *p)
{
    const tel_stats before = stats_of(p);
    CHECK_EQ(tel_submit(p, NULL, 0), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit(p, NULL, 10), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit(p, NULL, (size_t)-1), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, NULL, 0, "line", 4), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, NULL, 4, "line", 4), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, "good", 4, NULL, 0), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, "good", 4, NULL, 4), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(p, NULL, 0, NULL, 0), TEL_ERR_INVALID);
    check_moved(__LINE__, p, before, (tel_stats){ NOTHING });
}

/* ---- NULL in the other functions ---- */

static void test_null_producer(tel_producer *p)
{
    (void)p;
    char reason[64];
    tel_stats s;
    CHECK_EQ(tel_submit(NULL, "good line", 9), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit(NULL, NULL, 0), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(NULL, "good", 4, "line", 4), TEL_ERR_INVALID);
    CHECK_EQ(tel_submit_for(NULL, NULL, 0, NULL, 0), TEL_ERR_INVALID);
    CHECK_EQ(tel_wants(NULL, "good", 4), 0);
    CHECK_EQ(tel_wants(NULL, NULL, 0), 0);
    memset(reason, 'x', sizeof reason);
    CHECK_EQ(tel_reload_clients(NULL, "/nowhere", reason, sizeof reason), TEL_ERR_INVALID);
    CHECK(memchr(reason, '\0', sizeof reason) && *reason);
    CHECK_EQ(tel_reload_clients(NULL, NULL, NULL, 0), TEL_ERR_INVALID);
    memset(reason, 'x', sizeof reason);
    CHECK_EQ(tel_set_clients(NULL, "{}", 2, reason, sizeof reason), TEL_ERR_INVALID);
    CHECK(memchr(reason, '\0', sizeof reason) && *reason);
    CHECK_EQ(tel_set_clients(NULL, NULL, 0, NULL, 0), TEL_ERR_INVALID);
    CHECK_EQ(tel_flush(NULL, 0), TEL_ERR_INVALID);
    CHECK_EQ(tel_flush(NULL, -1), TEL_ERR_INVALID);
    CHECK_EQ(tel_get_stats(NULL, &s, sizeof s), TEL_ERR_INVALID);
    CHECK_EQ(tel_get_stats(NULL, NULL, 0), TEL_ERR_INVALID);
    CHECK_EQ(tel_stats_json(NULL, reason, sizeof reason), 0);
    CHECK_EQ(tel_stats_json(NULL, NULL, 0), 0);
    CHECK_EQ(tel_producer_close(NULL, 0), TEL_ERR_INVALID);
    tel_producer_free(NULL); /* allowed, as free(NULL) is */
}

static void test_null_arguments(tel_producer *p)
{
    char reason[256];
    CHECK_EQ(tel_wants(p, NULL, 0), 0);
    CHECK_EQ(tel_wants(p, NULL, 4), 0);
    CHECK_EQ(tel_wants(p, "good", 0), 0);
    CHECK_EQ(tel_get_stats(p, NULL, sizeof(tel_stats)), TEL_ERR_INVALID);
    CHECK_EQ(tel_get_stats(p, NULL, 0), TEL_ERR_INVALID);
    CHECK(tel_stats_json(p, NULL, 0) > 0);
    CHECK(tel_stats_json(p, NULL, 100) > 0); /* nothing to write to, whatever the size says */

    memset(reason, 'x', sizeof reason);
    CHECK_EQ(tel_set_clients(p, NULL, 0, reason, sizeof reason), TEL_ERR_INVALID);
    CHECK(memchr(reason, '\0', sizeof reason) && *reason);
    CHECK_EQ(tel_set_clients(p, NULL, 10, NULL, 0), TEL_ERR_INVALID);
    CHECK_EQ(tel_set_clients(p, "[]", 2, NULL, 0), TEL_ERR_CLIENTS);
    CHECK_EQ(tel_set_clients(p, "[]", 2, NULL, 100), TEL_ERR_CLIENTS);

    /* NULL is the configured file, and this producer has none. */
    memset(reason, 'x', sizeof reason);
    CHECK(tel_reload_clients(p, NULL, reason, sizeof reason) != TEL_OK);
    CHECK(memchr(reason, '\0', sizeof reason) && *reason);
    CHECK(tel_reload_clients(p, NULL, NULL, 0) != TEL_OK);
    CHECK_EQ(wants(p, "good"), 1);
}

static void test_null_config(tel_producer *p)
{
    (void)p;
    char reason[256];
    memset(reason, 'x', sizeof reason);
    CHECK(tel_producer_new(NULL, NULL, reason, sizeof reason) == NULL);
    CHECK(memchr(reason, '\0', sizeof reason) && *reason);
    CHECK(tel_producer_new(NULL, NULL, NULL, 0) == NULL);
    CHECK(tel_producer_new(NULL, NULL, NULL, 100) == NULL);
    memset(reason, 'x', sizeof reason);
    const int code = tel_config_check(NULL, reason, sizeof reason);
    CHECK(code == TEL_ERR_INVALID || code == TEL_ERR_CONFIG);
    CHECK(memchr(reason, '\0', sizeof reason) && *reason);
    CHECK_EQ(tel_config_check(NULL, NULL, 0), code);
    CHECK_EQ(tel_config_check(NULL, NULL, 100), code);
}

static void test_words_for_every_code(tel_producer *p)
{
    (void)p;
    for (int code = TEL_OK; code <= TEL_ERR_INTERNAL; ++code) {
        note("code %d", code);
        CHECK(tel_strerror(code) && *tel_strerror(code));
        for (int other = TEL_OK; other < code; ++other)
            CHECK(strcmp(tel_strerror(code), tel_strerror(other)) != 0);
    }
    static const int unknown[] = { -1, TEL_ERR_INTERNAL + 1, 9999, INT_MIN, INT_MAX };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; ++i) {
        note("code %d", unknown[i]);
        CHECK(tel_strerror(unknown[i]) && *tel_strerror(unknown[i]));
    }
    no_note();
    CHECK_EQ(tel_abi_version(), TEL_ABI_VERSION);
    CHECK(strcmp(tel_version(), "0.1.0") == 0);
}

/* ---- sized structs and buffers ---- */

static void test_stats_of_an_older_host(tel_producer *p)
{
    const tel_stats whole = stats_of(p);
    static const size_t sizes[] = { 0, 1, 8, 12, offsetof(tel_stats, in_flight), sizeof(tel_stats) - 1 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
        unsigned char out[sizeof(tel_stats) + 64];
        note("a struct of %zu bytes", sizes[i]);
        memset(out, 0xAB, sizeof out);
        const int code = tel_get_stats(p, (tel_stats *)(void *)out, sizes[i]);
        if (sizes[i] > 0) /* asking for nothing may be called a mistake, but must not write */
            CHECK_EQ(code, TEL_OK);
        if (sizes[i] >= sizeof(uint64_t))
            CHECK(memcmp(out, &whole.submitted, sizeof(uint64_t)) == 0);
        size_t touched = 0;
        for (size_t byte = sizes[i]; byte < sizeof out; ++byte)
            touched += out[byte] != 0xAB;
        CHECK_EQ(touched, 0);
    }
    no_note();
}

static void test_stats_of_a_newer_host(tel_producer *p)
{
    struct {
        tel_stats known;
        uint64_t later[8];
        unsigned char beyond[16];
    } out;
    memset(&out, 0xAB, sizeof out);
    CHECK_EQ(tel_get_stats(p, &out.known, sizeof out.known + sizeof out.later), TEL_OK);
    CHECK(out.known.submitted > 0 && out.known.submitted == accounted(&out.known));
    for (size_t i = 0; i < 8; ++i)
        CHECK_EQ(out.later[i], 0);
    for (size_t i = 0; i < sizeof out.beyond; ++i)
        CHECK_EQ(out.beyond[i], 0xAB);
}

static void test_options_of_an_older_host(tel_producer *p)
{
    (void)p;
    /* A size that ends before a field means that the field is not there, whatever the memory holds. Security settings
     * on the embedded broker are ignored with a warning, so there is something to be logged. */
    static const char warns[] = "{'embedded_broker': true, 'kafka': {'security.protocol': 'ssl'}}";
    struct log_book book;
    log_book_open(&book);
    tel_options options = log_to(&book);
    tel_producer *whole = start(warns, &options);
    CHECK(log_calls(&book) > 0);
    tel_producer_free(whole);

    log_book_open(&book);
    options.size = offsetof(tel_options, log);
    tel_producer *without = start(warns, &options);
    tel_producer_free(without);
    CHECK_EQ(log_calls(&book), 0);
}

static void test_options_of_a_newer_host(tel_producer *p)
{
    (void)p;
    struct {
        tel_options known;
        unsigned char later[64];
    } options;
    memset(&options, 0xAB, sizeof options);
    options.known = quiet();
    options.known.size = sizeof options;
    tel_producer *newer = start(CONFIG, &options.known);
    tel_producer_free(newer);
}

static void test_stats_json_in_a_short_buffer(tel_producer *p)
{
    char small[8];
    memset(small, 0x5A, sizeof small);
    const size_t needed = tel_stats_json(p, small, 0);
    CHECK(needed > sizeof small);
    CHECK_EQ(small[0], 0x5A);
    CHECK(tel_stats_json(p, small, 1) > 1);
    CHECK_EQ(small[0], '\0');
    CHECK_EQ(small[1], 0x5A);
    CHECK(tel_stats_json(p, small, 5) > 5);
    CHECK_EQ(strnlen(small, sizeof small), 4);
    CHECK_EQ(small[0], '{');
    CHECK_EQ(small[5], 0x5A);

    /* Exactly enough, and one too few. Gauges of time may gain a digit between two calls, hence the attempts. */
    int exact = 0;
    for (int attempt = 0; attempt < 20 && !exact; ++attempt) {
        const size_t length = tel_stats_json(p, NULL, 0);
        char *text = calloc(length + 2, 1);
        text[length + 1] = 0x5A;
        exact = tel_stats_json(p, text, length + 1) == length;
        if (exact) {
            char *roomy = stats_text(p);
            CHECK_EQ(strlen(text), length);
            CHECK(text[0] == '{' && text[length - 1] == '}');
            CHECK(roomy && strlen(roomy) == length); /* nothing is cut off */
            free(roomy);
            CHECK_EQ(text[length + 1], 0x5A);
            text[length] = 0x5A;
            CHECK(tel_stats_json(p, text, length) >= length);
            CHECK_EQ(strlen(text), length - 1);
            CHECK_EQ(text[length], 0x5A);
        }
        free(text);
    }
    CHECK(exact);
}

static void test_stats_json_says_what_the_struct_says(tel_producer *p)
{
    const tel_stats s = stats_of(p);
    char *text = stats_text(p);
    if (CHECK(text != NULL)) {
#define SAME(counter) CHECK_EQ(number_in(text, "total", #counter), s.counter)
        SAME(submitted);
        SAME(recovered);
        SAME(delivered);
        SAME(failed);
        SAME(dropped_full);
        SAME(dropped_too_long);
        SAME(dropped_rate);
        SAME(dropped_spool);
        SAME(sampled_out);
        SAME(unknown_client);
        SAME(malformed);
        SAME(spooled);
        SAME(in_flight);
        SAME(sanitized);
        SAME(bytes_submitted);
        SAME(bytes_delivered);
        SAME(last_delivery_unix_ms);
        SAME(clients);
        SAME(clients_rejected);
        SAME(clients_revision);
#undef SAME
        CHECK(strstr(text, "\"oldest_undelivered_ms\"") != NULL);
        CHECK(strstr(text, "\"bootstrap_servers\"") != NULL);
        CHECK(number_in(text, "good", "routed") > 0);
    }
    free(text);
}

/* ---- a line that fits the queue and not Kafka ---- */

static void test_megabyte_that_kafka_does_not_take(tel_producer *unused)
{
    (void)unused;
    const tel_options options = quiet();
    tel_producer *p = start("{'embedded_broker': true, 'queue.max_line_bytes': 1048576,"
                            " 'kafka': {'queue.buffering.max.ms': 5, 'message.max.bytes': 100000}}",
                            &options);
    if (!p)
        return;
    CHECK_EQ(set_clients(p, "{'revision': 1, 'clients': [{'id': 'good'}]}"), TEL_OK);
    CHECK_EQ(submit_text(p, "good before"), TEL_OK);
    const span big = good_line(1 << 20, "\n");
    CHECK_EQ(tel_submit(p, big.bytes, big.len), TEL_OK);
    CHECK_EQ(submit_text(p, "good after"), TEL_OK);
    check_moved(__LINE__, p, (tel_stats){ NOTHING }, (tel_stats){ .submitted = 3, .delivered = 2, .failed = 1 });
    tel_producer_free(p);
}

/* ---- after close ---- */

static void test_calls_after_close(tel_producer *unused)
{
    (void)unused;
    const tel_options options = quiet();
    tel_producer *p = start(CONFIG, &options);
    if (!p)
        return;
    CHECK_EQ(set_clients(p, "{'revision': 1, 'clients': [{'id': 'good'}]}"), TEL_OK);
    for (int i = 0; i < 100; ++i)
        CHECK_EQ(submit_text(p, "good line"), TEL_OK);
    CHECK_EQ(tel_producer_close(p, FLUSH_MS), TEL_OK);

    const tel_stats closed = stats_of(p);
    CHECK_EQ(closed.submitted, 100);
    CHECK_EQ(closed.delivered, 100);
    CHECK_EQ(submit_text(p, "good line"), TEL_ERR_CLOSED);
    CHECK_EQ(submit_text(p, ""), TEL_ERR_CLOSED);
    CHECK_EQ(tel_submit_for(p, "good", 4, "line", 4), TEL_ERR_CLOSED);
    CHECK_EQ(wants(p, "good"), 0);
    const int flushed = tel_flush(p, 1000); /* nothing is left to wait for */
    CHECK(flushed == TEL_OK || flushed == TEL_ERR_CLOSED);

    const long long began = now_ms();
    const int again = tel_producer_close(p, FLUSH_MS);
    CHECK(again == TEL_OK || again == TEL_ERR_CLOSED);
    CHECK(now_ms() - began < 1000 * patience());

    /* Closed calls submit nothing: no counter has moved since. */
    const tel_stats later = stats_of(p);
    CHECK(memcmp(&closed, &later, sizeof later) == 0);

    /* A list is no line: it may be taken or refused, and moves no counter of lines. */
    const char *list = json("{'revision': 2, 'clients': [{'id': 'good'}]}");
    const int set = tel_set_clients(p, list, strlen(list), NULL, 0);
    CHECK(set == TEL_OK || set == TEL_ERR_CLOSED);
    CHECK(tel_reload_clients(p, "/no/such/list.json", NULL, 0) != TEL_OK);
    CHECK_EQ(submit_text(p, "good line"), TEL_ERR_CLOSED);
    CHECK_IDENTITY(p);
    char *text = stats_text(p);
    CHECK(text && number_in(text, "total", "delivered") == 100);
    free(text);
    tel_producer_free(p);
}

/* ---- nothing else is affected ---- */

/* After each test: the account balances, and a good line of either way still arrives. */
static void check_unharmed(tel_producer *p)
{
    note("the line that follows this test");
    SUBMITS(p, TEXT("good and well"), TEL_OK, DELIVERED);
    SUBMITS_FOR(p, TEXT("good"), TEXT("and well"), TEL_OK, DELIVERED);
    no_note();
}

#define RUN_ON(p, test)   \
    do {                  \
        test_begins();    \
        test(p);          \
        check_unharmed(p);\
        test_ends(#test); \
    } while (0)

int main(void)
{
    const tel_options options = quiet();
    tel_producer *p = start(CONFIG, &options);
    if (!p)
        return 1;
    char list[512] = "{\"revision\": 1, \"clients\": [{\"id\": \"good\"}, {\"id\": \"";
    const size_t begun = strlen(list);
    memset(list + begun, 'a', ID_MAX);
    strcpy(list + begun + ID_MAX, "\"}]}");
    if (!CHECK_EQ(set_clients(p, list), TEL_OK))
        return 1;

    RUN_ON(p, test_a_good_line_is_delivered);
    RUN_ON(p, test_line_of_length_0);
    RUN_ON(p, test_no_space);
    RUN_ON(p, test_an_empty_value_is_a_line);
    RUN_ON(p, test_leading_space_is_an_empty_id);
    RUN_ON(p, test_second_space_belongs_to_the_value);
    RUN_ON(p, test_id_of_128_bytes);
    RUN_ON(p, test_id_of_129_bytes);
    RUN_ON(p, test_id_with_forbidden_bytes);
    RUN_ON(p, test_submit_for_cannot_be_forged);
    RUN_ON(p, test_unknown_client);
    RUN_ON(p, test_line_at_the_limit);
    RUN_ON(p, test_line_one_over_the_limit);
    RUN_ON(p, test_line_of_a_megabyte);
    RUN_ON(p, test_length_of_minus_1);
    RUN_ON(p, test_control_bytes_inside_are_sanitized);
    RUN_ON(p, test_sanitizing_may_double_a_line);
    RUN_ON(p, test_null_line_or_client_counts_nothing);
    RUN_ON(p, test_null_producer);
    RUN_ON(p, test_null_arguments);
    RUN_ON(p, test_null_config);
    RUN_ON(p, test_words_for_every_code);
    RUN_ON(p, test_stats_of_an_older_host);
    RUN_ON(p, test_stats_of_a_newer_host);
    RUN_ON(p, test_options_of_an_older_host);
    RUN_ON(p, test_options_of_a_newer_host);
    RUN_ON(p, test_stats_json_in_a_short_buffer);
    RUN_ON(p, test_stats_json_says_what_the_struct_says);
    RUN_ON(p, test_megabyte_that_kafka_does_not_take);
    RUN_ON(p, test_calls_after_close);

    tel_producer_free(p);
    return summary();
}
