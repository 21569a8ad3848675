/* bad_config - a wrong configuration is refused with an error that names its key, by tel_config_check and by
 * tel_producer_new alike; nothing is half-started, and no secret is repeated. What is only not there yet (a broker, a
 * usable certificate, the client list) is no reason to refuse.
 */
#define _DEFAULT_SOURCE /* mkstemp */

#include <stdbool.h>

#include "check.h"

enum { FLUSH_MS = 10000 };

/* A broker's address where nothing listens: what a configuration needs at the least. */
#define BROKER "'bootstrap.servers': '127.0.0.1:1'"

static tel_producer *neighbour; /* a well configured producer of the same process, which nothing here may disturb */

static bool terminated(const char *text, size_t size) { return memchr(text, '\0', size) != NULL; }

/* errstr holds as much of the reason as fits, ends in NUL, and nothing is written past its size. */
static void check_short_buffers(int line, const char *config, const char *whole)
{
    static const size_t sizes[] = { 1, 2, 5, 16, 4096 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
        static char room[4096 + 16];
        for (int by_new = 0; by_new < 2; ++by_new) {
            memset(room, 0x5A, sizeof room);
            if (by_new)
                CHECK_AT(line, tel_producer_new(config, NULL, room, sizes[i]) == NULL);
            else
                CHECK_AT(line, tel_config_check(config, room, sizes[i]) == TEL_ERR_CONFIG);
            if (CHECK_AT(line, terminated(room, sizes[i])))
                CHECK_AT(line, strncmp(room, whole, strlen(room)) == 0);
            if (sizes[i] <= strlen(whole)) /* of a character of several bytes, nothing or all may be kept */
                CHECK_AT(line, strlen(room) + 4 >= sizes[i]);
            CHECK_AT(line, room[sizes[i]] == 0x5A);
        }
    }
    CHECK_AT(line, tel_config_check(config, NULL, 0) == TEL_ERR_CONFIG);
    CHECK_AT(line, tel_producer_new(config, NULL, NULL, 0) == NULL);
}

/* Both functions refuse this text, with the same reason, and the reason has the words in it. */
static void refuse_text(int line, const char *config, const char *words)
{
    char checked[4096], made[4096];
    note("the configuration %s", config);
    memset(checked, 0x5A, sizeof checked);
    memset(made, 0x5A, sizeof made);

    CHECK_EQ_AT(line, tel_config_check(config, checked, sizeof checked), TEL_ERR_CONFIG);
    if (!CHECK_AT(line, terminated(checked, sizeof checked)))
        return;
    note("the configuration %.3000s\n    and the reason %.3000s", config, checked);
    CHECK_AT(line, *checked != '\0');
    CHECK_AT(line, strstr(checked, words) != NULL);

    const tel_options options = quiet();
    tel_producer *p = tel_producer_new(config, &options, made, sizeof made);
    CHECK_AT(line, p == NULL);
    if (!p && CHECK_AT(line, terminated(made, sizeof made))) {
        CHECK_AT(line, strcmp(checked, made) == 0);
        check_short_buffers(line, config, made);
    }
    tel_producer_free(p);
    no_note();
}

/* Both functions take it, and say nothing. */
static void accept_text(int line, const char *config)
{
    char reason[4096];
    note("the configuration %s", config);
    memset(reason, 0x5A, sizeof reason);
    if (!CHECK_EQ_AT(line, tel_config_check(config, reason, sizeof reason), TEL_OK))
        fprintf(stderr, "    %.4000s\n", reason);
    CHECK_AT(line, *reason == '\0');

    memset(reason, 0x5A, sizeof reason);
    const tel_options options = quiet();
    tel_producer *p = tel_producer_new(config, &options, reason, sizeof reason);
    if (!CHECK_AT(line, p != NULL))
        fprintf(stderr, "    %.4000s\n", reason);
    CHECK_AT(line, *reason == '\0');
    tel_producer_free(p);
    no_note();
}

#define REFUSED(config, words) refuse_text(__LINE__, json(config), words)
#define ACCEPTED(config) accept_text(__LINE__, json(config))

/* ---- not a configuration at all ---- */

static void test_no_json(void)
{
    REFUSED("", "");
    REFUSED(" \n\t", "");
    REFUSED("bootstrap.servers=127.0.0.1:1", "");
    REFUSED("{", "");
    REFUSED("{'embedded_broker': true", "");
    REFUSED("{'embedded_broker': true}}", "");
    REFUSED("{'embedded_broker': true} {}", "");
    REFUSED("{'embedded_broker': true,}", "");
    REFUSED("{'embedded_broker': yes}", "");
    REFUSED("{'embedded_broker': True}", "");
    REFUSED("\xFF\xFE{}", "");
    REFUSED("{'embedded_broker': true, 'clients.file': '\xC3\x28'}", ""); /* not UTF-8 */
}

static void test_json_that_is_no_object(void)
{
    REFUSED("[]", "object");
    REFUSED("[{'embedded_broker': true}]", "object");
    REFUSED("null", "object");
    REFUSED("true", "object");
    REFUSED("'embedded_broker'", "object");
    REFUSED("42", "object");
}

static void test_deep_nesting(void)
{
    enum { DEPTH = 200000 };
    char *config = malloc(DEPTH + 64);
    memset(config, '[', DEPTH);
    config[DEPTH] = '\0';
    CHECK_EQ(tel_config_check(config, NULL, 0), TEL_ERR_CONFIG);
    CHECK(tel_producer_new(config, NULL, NULL, 0) == NULL);
    const size_t begun = (size_t)sprintf(config, "{\"embedded_broker\": true, \"kafka\": ");
    memset(config + begun, '[', DEPTH - begun);
    CHECK_EQ(tel_config_check(config, NULL, 0), TEL_ERR_CONFIG);
    CHECK(tel_producer_new(config, NULL, NULL, 0) == NULL);
    free(config);
}

/* ---- keys ---- */

static void test_unknown_keys(void)
{
    REFUSED("{'embedded_broker': true, 'embeded_broker': true}", "embeded_broker");
    REFUSED("{'embedded_broker': true, 'Queue.bytes': 1048576}", "Queue.bytes");
    REFUSED("{'embedded_broker': true, 'queue.size': 1048576}", "queue.size");
    REFUSED("{'embedded_broker': true, 'queue': {'size': 1048576}}", "queue.size");
    REFUSED("{'embedded_broker': true, 'clients': {'path': '/x'}}", "clients.path");
    REFUSED("{'embedded_broker': true, 'batches': {'lines': 7}}", "batches.lines");
    REFUSED("{'embedded_broker': true, 'bootstrap.servers': '127.0.0.1:1'}", "bootstrap.servers");
    REFUSED("{'embedded_broker': true, '': 1}", "");
    REFUSED("{'producer': {'embedded_broker': true}}", "producer"); /* teld's file, given to the library */
}

static void test_unknown_kafka_properties(void)
{
    REFUSED("{'kafka': {" BROKER ", 'no.such.property': 1}}", "no.such.property");
    REFUSED("{'kafka': {" BROKER ", 'Linger.ms': 1}}", "Linger.ms");
    REFUSED("{'kafka': {" BROKER ", '': 'x'}}", "");
    REFUSED("{'embedded_broker': true, 'kafka': {'no.such.property': 'x'}}", "no.such.property");
}

static void test_missing_brokers(void)
{
    REFUSED("{}", "bootstrap.servers");
    REFUSED("{'kafka': {}}", "bootstrap.servers");
    REFUSED("{'kafka': {'acks': 'all'}, 'embedded_broker': false}", "bootstrap.servers");
    REFUSED("{'kafka': {'bootstrap.servers': ''}}", "bootstrap.servers");
    ACCEPTED("{'kafka': {'bootstrap.servers': '127.0.0.1:1'}}");
    ACCEPTED("{'kafka': {'metadata.broker.list': '127.0.0.1:1'}}"); /* its alias */
}

/* ---- types and values ---- */

#define WITH(members) "{'embedded_broker': true, " members "}"

static void test_wrong_types(void)
{
    static const struct {
        const char *config, *key;
    } cases[] = {
        { WITH("'kafka': 'bootstrap.servers=x'"), "kafka" },
        { WITH("'kafka': ['bootstrap.servers']"), "kafka" },
        { WITH("'kafka': null"), "kafka" },
        { WITH("'kafka': 1"), "kafka" },
        { WITH("'kafka': {'client.id': null}"), "client.id" },
        { WITH("'kafka': {'client.id': ['a']}"), "client.id" },
        { WITH("'kafka': {'client.id': {'a': 1}}"), "client.id" },
        { "{'embedded_broker': 'true', 'kafka': {" BROKER "}}", "embedded_broker" },
        { "{'embedded_broker': 1, 'kafka': {" BROKER "}}", "embedded_broker" },
        { "{'embedded_broker': null, 'kafka': {" BROKER "}}", "embedded_broker" },
        { "{'embedded_broker': {}, 'kafka': {" BROKER "}}", "embedded_broker" },
        { WITH("'clients.file': 7"), "clients.file" },
        { WITH("'clients.file': true"), "clients.file" },
        { WITH("'clients.file': ['/x']"), "clients.file" },
        { WITH("'clients': {'file': {}}"), "clients.file" },
        { WITH("'clients.watch': 'true'"), "clients.watch" },
        { WITH("'clients.watch': 1"), "clients.watch" },
        { WITH("'clients': {'watch': null}"), "clients.watch" },
        { WITH("'clients': 'file'"), "clients" },
        { WITH("'clients': []"), "clients" },
        { WITH("'queue': 33554432"), "queue" },
        { WITH("'queue.bytes': '33554432'"), "queue.bytes" },
        { WITH("'queue.bytes': true"), "queue.bytes" },
        { WITH("'queue.bytes': null"), "queue.bytes" },
        { WITH("'queue.bytes': [33554432]"), "queue.bytes" },
        { WITH("'queue.bytes': 33554432.5"), "queue.bytes" },
        { WITH("'queue': {'bytes': '33554432'}"), "queue.bytes" },
        { WITH("'queue.max_line_bytes': '16384'"), "queue.max_line_bytes" },
        { WITH("'queue.max_line_bytes': false"), "queue.max_line_bytes" },
        { WITH("'queue': {'max_line_bytes': {}}"), "queue.max_line_bytes" },
        { WITH("'batches.bytes': '64M'"), "batches.bytes" },
        { WITH("'batches': {'bytes': null}"), "batches.bytes" },
        { WITH("'batches': true"), "batches" },
        { WITH("'exit_timeout_ms': '2000'"), "exit_timeout_ms" },
        { WITH("'exit_timeout_ms': [2000]"), "exit_timeout_ms" },
        { WITH("'exit_timeout_ms': 0.5"), "exit_timeout_ms" },
        { WITH("'insecure': 'true'"), "insecure" },
        { WITH("'insecure': 1"), "insecure" },
        { WITH("'insecure': null"), "insecure" },
        { WITH("'spool.dir': 7"), "spool" },
        { WITH("'spool.max_bytes': 'much'"), "spool" },
        { WITH("'spool': 'dir'"), "spool" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i)
        REFUSED(cases[i].config, cases[i].key);
}

static void test_bad_values(void)
{
    static const struct {
        const char *config, *key;
    } cases[] = {
        { WITH("'queue.bytes': 0"), "queue.bytes" },
        { WITH("'queue.bytes': -1"), "queue.bytes" },
        { WITH("'queue.bytes': 99999999999999999999999999"), "queue.bytes" },
        { WITH("'queue.bytes': 18446744073709551615"), "queue.bytes" }, /* fits the type, and no machine */
        { WITH("'queue.max_line_bytes': 0"), "queue.max_line_bytes" },
        { WITH("'queue.max_line_bytes': -16384"), "queue.max_line_bytes" },
        { WITH("'queue.max_line_bytes': 18446744073709551615"), "queue.max_line_bytes" },
        { WITH("'batches.bytes': 0"), "batches.bytes" },
        { WITH("'batches.bytes': -1"), "batches.bytes" },
        { WITH("'batches.bytes': 1e400"), "" }, /* JSON, but no number to most parsers */
        { WITH("'exit_timeout_ms': -1"), "exit_timeout_ms" },
        { WITH("'exit_timeout_ms': 99999999999999999999999999"), "exit_timeout_ms" },
        { WITH("'clients.file': ''"), "clients.file" },
        { WITH("'clients.file': '/a\\u0000b'"), "clients.file" }, /* no path has a NUL */
        { "{'kafka': {" BROKER ", 'socket.timeout.ms': 'soon'}}", "socket.timeout.ms" },
        { "{'kafka': {" BROKER ", 'socket.timeout.ms': -5}}", "socket.timeout.ms" },
        { "{'kafka': {" BROKER ", 'socket.keepalive.enable': 'maybe'}}", "socket.keepalive.enable" },
        { "{'kafka': {" BROKER ", 'compression.codec': 'rar'}}", "compression.codec" },
        { "{'kafka': {" BROKER ", 'compression.type': 'rar'}}", "compression" },
        { "{'kafka': {" BROKER ", 'batch.num.messages': 0}}", "batch.num.messages" },
        { "{'kafka': {" BROKER ", 'batch.num.messages': 1.5}}", "batch.num.messages" },
        { "{'kafka': {" BROKER ", 'queue.buffering.max.ms': 'never'}}", "queue.buffering.max.ms" },
        { "{'kafka': {" BROKER ", 'linger.ms': 'never'}}", "linger.ms" },
        { "{'kafka': {" BROKER ", 'queue.buffering.max.messages': -1}}", "queue.buffering.max.messages" },
        { "{'kafka': {" BROKER ", 'security.protocol': 'telnet'}}", "security.protocol" },
        { "{'kafka': {" BROKER ", 'acks': 'some'}}", "acks" },
        { "{'kafka': {" BROKER ", 'client.id': 'a\\u0000b'}}", "client.id" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i)
        REFUSED(cases[i].config, cases[i].key);
}

static void test_both_spellings_and_all_defaults(void)
{
    ACCEPTED("{'embedded_broker': true}");
    ACCEPTED("{'embedded_broker': true, 'kafka': {}, 'clients.watch': false, 'queue.bytes': 4194304,"
             " 'queue.max_line_bytes': 1024, 'batches.bytes': 8388608, 'exit_timeout_ms': 100, 'insecure': false}");
    ACCEPTED("{'embedded_broker': true, 'clients': {'watch': false}, 'queue': {'bytes': 4194304,"
             " 'max_line_bytes': 1024}, 'batches': {'bytes': 8388608}}");
    ACCEPTED("{'kafka': {" BROKER ", 'socket.timeout.ms': '5000', 'socket.keepalive.enable': 'true',"
             " 'client.id': 'edge-1', 'batch.num.messages': 100, 'log.connection.close': false}}");
}

/* A user's key is over the preset, whichever name of the two it has. */
static void test_overriding_the_preset(void)
{
    ACCEPTED("{'kafka': {" BROKER ", 'linger.ms': 5, 'compression.type': 'none'}}");
    ACCEPTED("{'kafka': {" BROKER ", 'queue.buffering.max.ms': 0, 'compression.codec': 'lz4'}}");
    ACCEPTED("{'kafka': {" BROKER ", 'retry.backoff.ms': 100, 'retry.backoff.max.ms': 500}}");
    ACCEPTED("{'kafka': {" BROKER ", 'enable.idempotence': false, 'acks': 1}}");
}

/* What the engine refuses only when it starts, because of two properties together, the check has to know as well. */
static void test_check_and_new_agree_on_combinations(void)
{
    static const char *const configs[] = {
        "{'kafka': {" BROKER ", 'acks': 1}}", /* the preset has enable.idempotence */
        "{'kafka': {" BROKER ", 'request.required.acks': 0}}",
        "{'kafka': {" BROKER ", 'max.in.flight': 10}}",
        "{'kafka': {" BROKER ", 'queuing.strategy': 'lifo'}}",
        "{'kafka': {" BROKER ", 'message.timeout.ms': 1}}",
        "{'kafka': {" BROKER ", 'retries': 0}}",
        "{'kafka': {" BROKER ", 'retry.backoff.max.ms': 10}}",
        "{'kafka': {" BROKER ", 'message.max.bytes': 1000}}",
        "{'kafka': {" BROKER ", 'queue.buffering.max.kbytes': 1}}",
        "{'kafka': {" BROKER ", 'socket.max.fails': 0, 'reconnect.backoff.ms': 5000, 'reconnect.backoff.max.ms': 1}}",
        "{'kafka': {" BROKER ", 'security.protocol': 'sasl_plaintext'}}",
        "{'kafka': {" BROKER ", 'security.protocol': 'sasl_plaintext', 'sasl.mechanisms': 'PLAIN'}}",
        "{'kafka': {" BROKER ", 'security.protocol': 'sasl_ssl', 'sasl.mechanisms': 'NONESUCH'}}",
        "{'kafka': {" BROKER ", 'sasl.mechanisms': 'OAUTHBEARER', 'security.protocol': 'sasl_plaintext'}}",
        "{'kafka': {'bootstrap.servers': ':::'}}",
        "{'kafka': {'bootstrap.servers': '127.0.0.1:1', 'metadata.broker.list': '127.0.0.1:2'}}",
        "{'kafka': {" BROKER ", 'group.id': 'g'}}",
        "{'kafka': {" BROKER ", 'log_cb': 'x'}}",
        "{'kafka': {" BROKER ", 'opaque': 'x'}}",
        "{'kafka': {" BROKER ", 'default_topic_conf': 'x'}}",
        "{'embedded_broker': true, 'queue.bytes': 4096, 'queue.max_line_bytes': 1048576}",
        "{'embedded_broker': true, 'batches.bytes': 1}",
        "{'embedded_broker': true, 'queue.bytes': 1}",
        "{'embedded_broker': true, 'embedded_broker': false}",
        "{'embedded_broker': true, 'queue.bytes': 4194304, 'queue': {'bytes': 8388608}}",
        "{'embedded_broker': true, 'kafka': {'bootstrap.servers': '127.0.0.1:1'}}",
    };
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; ++i) {
        const char *config = json(configs[i]);
        char checked[1024], made[1024];
        const int code = tel_config_check(config, checked, sizeof checked);
        const tel_options options = quiet();
        tel_producer *p = tel_producer_new(config, &options, made, sizeof made);
        note("the configuration %s\n    checked: %s\n    made: %s", config, checked, made);
        CHECK(code == TEL_OK || code == TEL_ERR_CONFIG);
        CHECK_EQ(code == TEL_OK, p != NULL);
        CHECK(strcmp(checked, made) == 0);
        CHECK_EQ(code == TEL_OK, *checked == '\0');
        tel_producer_free(p);
    }
    no_note();
}

/* ---- refused with a reason ---- */

static void test_refused_properties(void)
{
    static const char *const keys[] = { "plugin.library.paths", "internal.termination.signal",
                                        "delivery.report.only.error", "allow.auto.create.topics",
                                        "test.mock.num.brokers", "test.mock.broker.rtt", "test.mock.anything",
                                        "transactional.id" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; ++i) {
        static const char *const values[] = { "1", "'1'", "true", "''" };
        for (size_t v = 0; v < sizeof values / sizeof values[0]; ++v) {
            char config[256];
            snprintf(config, sizeof config, "{'kafka': {" BROKER ", '%s': %s}}", keys[i], values[v]);
            REFUSED(config, keys[i]);
            snprintf(config, sizeof config, "{'embedded_broker': true, 'kafka': {'%s': %s}}", keys[i], values[v]);
            REFUSED(config, keys[i]);
        }
    }
}

static void test_insecure_settings_need_insecure(void)
{
    static const struct {
        const char *setting, *key;
    } cases[] = {
        { "'enable.ssl.certificate.verification': false", "enable.ssl.certificate.verification" },
        { "'enable.ssl.certificate.verification': 'false'", "enable.ssl.certificate.verification" },
        { "'enable.ssl.certificate.verification': 'FALSE'", "enable.ssl.certificate.verification" },
        { "'enable.ssl.certificate.verification': 'f'", "enable.ssl.certificate.verification" },
        { "'enable.ssl.certificate.verification': '0'", "enable.ssl.certificate.verification" },
        { "'enable.ssl.certificate.verification': 0", "enable.ssl.certificate.verification" },
        { "'ssl.endpoint.identification.algorithm': 'none'", "ssl.endpoint.identification.algorithm" },
        { "'ssl.endpoint.identification.algorithm': 'NONE'", "ssl.endpoint.identification.algorithm" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        char config[256];
        snprintf(config, sizeof config, "{'kafka': {" BROKER ", 'security.protocol': 'ssl', %s}}", cases[i].setting);
        REFUSED(config, cases[i].key);
        snprintf(config, sizeof config, "{'kafka': {" BROKER ", %s}, 'insecure': false}", cases[i].setting);
        REFUSED(config, cases[i].key);
    }
    ACCEPTED("{'kafka': {" BROKER ", 'security.protocol': 'ssl', 'enable.ssl.certificate.verification': false,"
             " 'ssl.endpoint.identification.algorithm': 'none'}, 'insecure': true}");
    ACCEPTED("{'kafka': {" BROKER ", 'security.protocol': 'ssl', 'enable.ssl.certificate.verification': true,"
             " 'ssl.endpoint.identification.algorithm': 'https'}}");
}

static void test_spool_is_not_available_yet(void)
{
    REFUSED(WITH("'spool.dir': '/var/spool/tel'"), "spool");
    REFUSED(WITH("'spool.dir': '/var/spool/tel'"), "not available yet");
    REFUSED(WITH("'spool.max_bytes': 1048576"), "not available yet");
    REFUSED(WITH("'spool': {'dir': '/var/spool/tel', 'max_bytes': 1048576}"), "not available yet");
}

static void test_named_tls_file_that_does_not_exist(void)
{
    static const char *const keys[] = { "ssl.ca.location", "ssl.certificate.location", "ssl.key.location",
                                        "ssl.keystore.location" };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; ++i) {
        char config[256];
        snprintf(config, sizeof config, "{'kafka': {" BROKER ", 'security.protocol': 'ssl', '%s': '/no/such/file'}}",
                 keys[i]);
        REFUSED(config, keys[i]);
    }
}

/* ---- what is no reason to refuse ---- */

static void test_a_certificate_that_cannot_be_used_yet(void)
{
    char path[] = "/tmp/tel-bad-config-XXXXXX";
    const int file = mkstemp(path);
    if (!CHECK(file >= 0))
        return;
    static const char *const contents[] = { "", "-----BEGIN CERTIFICATE-----\nnot base64\n", "\x01\x02\x03" };
    static const char *const keys[] = { "ssl.ca.location", "ssl.certificate.location", "ssl.key.location" };
    for (size_t c = 0; c < sizeof contents / sizeof contents[0]; ++c) {
        CHECK(ftruncate(file, 0) == 0);
        CHECK(pwrite(file, contents[c], strlen(contents[c]), 0) == (ssize_t)strlen(contents[c]));
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; ++i) {
            char config[256];
            snprintf(config, sizeof config, "{'kafka': {" BROKER ", 'security.protocol': 'ssl', '%s': '%s'}}", keys[i],
                     path);
            struct log_book book;
            log_book_open(&book);
            const tel_options options = log_to(&book);
            note("%s with \"%s\" in the file", keys[i], contents[c]);
            CHECK_EQ(tel_config_check(json(config), NULL, 0), TEL_OK);
            tel_producer *p = start(config, &options);
            if (!p)
                continue;
            AWAIT(log_lowest(&book) <= 4, 5000); /* an error or a warning, not only a remark */
            CHECK_EQ(set_clients(p, "{'revision': 1, 'clients': [{'id': 'good'}]}"), TEL_OK);
            CHECK_EQ(submit_text(p, "good line"), TEL_OK);
            CHECK_EQ(tel_producer_close(p, 50), TEL_ERR_TIMEOUT);
            CHECK_EQ(settled_stats_of(p).failed, 1);
            CHECK_IDENTITY(p);
            tel_producer_free(p);
        }
    }
    no_note();
    close(file);
    unlink(path);
}

static void test_no_client_list_yet(void)
{
    static const char *const paths[] = { "/no/such/list.json", "/tmp", "/dev/null", "/dev/zero" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; ++i) {
        char config[256];
        snprintf(config, sizeof config, "{'embedded_broker': true, 'clients.file': '%s'}", paths[i]);
        struct log_book book;
        log_book_open(&book);
        const tel_options options = log_to(&book);
        note("the list %s", paths[i]);
        CHECK_EQ(tel_config_check(json(config), NULL, 0), TEL_OK);
        tel_producer *p = start(config, &options);
        if (!p)
            continue;
        AWAIT(log_has(&book, paths[i]), 5000);
        CHECK_EQ(wants(p, "good"), 0);
        CHECK_EQ(submit_text(p, "good line"), TEL_OK);
        CHECK_EQ(tel_flush(p, FLUSH_MS), TEL_OK);
        CHECK_EQ(stats_of(p).unknown_client, 1);
        CHECK_EQ(set_clients(p, "{'revision': 1, 'clients': [{'id': 'good'}]}"), TEL_OK);
        CHECK_EQ(submit_text(p, "good line"), TEL_OK);
        CHECK_EQ(tel_flush(p, FLUSH_MS), TEL_OK);
        CHECK_EQ(stats_of(p).delivered, 1);
        CHECK_IDENTITY(p);
        tel_producer_free(p);
    }
    no_note();
}

/* ---- secrets ---- */

/* Wherever a secret stands, and whatever is wrong beside it, its text is not repeated: not in errstr, in the log or in
 * the statistics. */
static void test_secrets_are_not_repeated(void)
{
    static const char *const configs[] = {
        /* refused for another reason */
        "{'kafka': {" BROKER ", 'sasl.password': 'hunter2', 'no.such.property': 1}}",
        "{'kafka': {" BROKER ", 'ssl.key.password': 'hunter2', 'acks': 'some'}}",
        "{'kafka': {" BROKER ", 'ssl.keystore.password': 'hunter2'}, 'queue.bytes': 'x'}",
        "{'kafka': {'sasl.password': 'hunter2'}}",
        "{'kafka': {" BROKER ", 'sasl.password': 'hunter2'",
        "{'kafka': {" BROKER ", 'sasl.password': 'hunter2' 'x'}}",
        "{'kafka': {" BROKER ", 'sasl.password': 'hunter2\\x'}}",
        "{'kafka': {" BROKER ", 'sasl.password': 'hunter2\xFF'}}",
        /* itself wrong */
        "{'kafka': {" BROKER ", 'sasl.password': ['hunter2']}}",
        "{'kafka': {" BROKER ", 'ssl.key.password': {'hunter2': 1}}}",
        "{'kafka': {" BROKER ", 'sasl.mechanisms': 'hunter2'}}",
        "{'kafka': {" BROKER ", 'sasl.login.callback.handler': 'hunter2'}}",
        "{'kafka': {" BROKER ", 'ssl.key.passwort': 'hunter2'}}",
        "{'kafka': {" BROKER ", 'my_password': 'hunter2'}}",
        "{'kafka': {" BROKER ", 'security.protocol': 'ssl', 'ssl.key.pem': 'hunter2'}}",
        "{'sasl.password': 'hunter2', 'kafka': {" BROKER "}}",
        "{'kafka': {" BROKER "}, 'queue': {'password': 'hunter2'}}",
        /* accepted */
        "{'kafka': {" BROKER ", 'security.protocol': 'sasl_plaintext', 'sasl.mechanisms': 'PLAIN',"
        " 'sasl.username': 'hunter2', 'sasl.password': 'hunter2', 'ssl.key.password': 'hunter2'}}",
        "{'embedded_broker': true, 'kafka': {'security.protocol': 'sasl_ssl', 'sasl.mechanisms': 'PLAIN',"
        " 'sasl.username': 'hunter2', 'sasl.password': 'hunter2', 'ssl.key.password': 'hunter2'}}",
    };
    int accepted = 0;
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; ++i) {
        const char *config = json(configs[i]);
        char reason[4096];
        struct log_book book;
        log_book_open(&book);
        const tel_options options = log_to(&book);
        note("the configuration %s", config);

        tel_config_check(config, reason, sizeof reason);
        CHECK(strstr(reason, "hunter2") == NULL);
        tel_producer *p = tel_producer_new(config, &options, reason, sizeof reason);
        CHECK(strstr(reason, "hunter2") == NULL);
        if (p) {
            ++accepted;
            char *text = stats_text(p);
            CHECK(text && strstr(text, "hunter2") == NULL);
            free(text);
            tel_producer_close(p, 100);
            tel_producer_free(p);
        } else {
            CHECK(*reason != '\0');
        }
        CHECK(!log_has(&book, "hunter2"));
    }
    no_note();
    CHECK(accepted >= 2);
}

/* ---- nothing else is affected ---- */

/* Threads and descriptors are those of the start, and the other producer still delivers. */
static void check_unharmed(int threads, int descriptors)
{
    AWAIT(threads_now() == threads, 5000);
    AWAIT(descriptors_now() == descriptors, 5000);
    const uint64_t before = stats_of(neighbour).delivered;
    CHECK_EQ(submit_text(neighbour, "good line"), TEL_OK);
    CHECK_EQ(tel_flush(neighbour, FLUSH_MS), TEL_OK);
    CHECK_EQ(stats_of(neighbour).delivered - before, 1);
    CHECK_IDENTITY(neighbour);
}

#define RUN_BESIDE(test)                                                       \
    do {                                                                       \
        const int threads = threads_now(), descriptors = descriptors_now();    \
        test_begins();                                                         \
        test();                                                                \
        check_unharmed(threads, descriptors);                                  \
        test_ends(#test);                                                      \
    } while (0)

int main(void)
{
    const tel_options options = quiet();
    neighbour = start("{'embedded_broker': true, 'kafka': {'queue.buffering.max.ms': 5}}", &options);
    if (!neighbour || !CHECK_EQ(set_clients(neighbour, "{'revision': 1, 'clients': [{'id': 'good'}]}"), TEL_OK))
        return 1;
    /* Its connections are up once a line has arrived; until then the descriptors are not all there. */
    CHECK_EQ(submit_text(neighbour, "good line"), TEL_OK);
    CHECK_EQ(tel_flush(neighbour, FLUSH_MS), TEL_OK);

    RUN_BESIDE(test_no_json);
    RUN_BESIDE(test_json_that_is_no_object);
    RUN_BESIDE(test_deep_nesting);
    RUN_BESIDE(test_unknown_keys);
    RUN_BESIDE(test_unknown_kafka_properties);
    RUN_BESIDE(test_missing_brokers);
    RUN_BESIDE(test_wrong_types);
    RUN_BESIDE(test_bad_values);
    RUN_BESIDE(test_both_spellings_and_all_defaults);
    RUN_BESIDE(test_overriding_the_preset);
    RUN_BESIDE(test_check_and_new_agree_on_combinations);
    RUN_BESIDE(test_refused_properties);
    RUN_BESIDE(test_insecure_settings_need_insecure);
    RUN_BESIDE(test_spool_is_not_available_yet);
    RUN_BESIDE(test_named_tls_file_that_does_not_exist);
    RUN_BESIDE(test_a_certificate_that_cannot_be_used_yet);
    RUN_BESIDE(test_no_client_list_yet);
    RUN_BESIDE(test_secrets_are_not_repeated);

    tel_producer_free(neighbour);
    return summary();
}
