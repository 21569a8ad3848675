/* What a C programmer would write first: rd_kafka_produce for every line, with a copy, as the original system's settings.
 *
 *     produce_loop SERVERS CODEC FILE
 *
 * A peer in the end to end bench; prints what it cost as JSON. */
#define _DEFAULT_SOURCE /* getrusage, clock_gettime */

#include "../end_to_end/lines.h"

#include <librdkafka/rdkafka.h>

enum { TOPICS = 100000, ID = 128 };

static uint64_t delivered, failed;
static rd_kafka_topic_t *topics[TOPICS]; /* by the number in the id: c0, c1, ... */

static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
    (void)kafka;
    (void)opaque;
    message->err ? ++failed : ++delivered;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char reason[512];
    if (rd_kafka_conf_set(conf, name, value, reason, sizeof reason) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "%s\n", reason);
        exit(2);
    }
}

static rd_kafka_topic_t *topic_of(rd_kafka_t *kafka, const char *id, size_t length)
{
    char name[ID + 1];
    const long number = length > 1 && length <= ID ? strtol(id + 1, NULL, 10) : -1;
    if (number < 0 || number >= TOPICS)
        return NULL;
    if (!topics[number]) {
        memcpy(name, id, length);
        name[length] = '\0';
        topics[number] = rd_kafka_topic_new(kafka, name, NULL);
    }
    return topics[number];
}

int main(int argc, char **argv)
{
    struct input input;
    char reason[512];
    if (argc != 4) {
        fprintf(stderr, "usage: %s SERVERS CODEC FILE\n", argv[0]);
        return 2;
    }
    const double start = now();
    open_input(&input, argv[3]);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", argv[1]);
    set(conf, "compression.codec", argv[2]);
    set(conf, "queue.buffering.max.messages", "250000");
    set(conf, "queue.buffering.max.ms", "1000");
    set(conf, "batch.num.messages", "10000");
    set(conf, "enable.idempotence", "true");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *kafka = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (!kafka) {
        fprintf(stderr, "%s\n", reason);
        return 1;
    }

    uint64_t lines = 0, waits = 0;
    size_t length;
    for (const char *line; (line = next_line(&input, &length));) {
        const char *space = memchr(line, ' ', length);
        rd_kafka_topic_t *topic = space ? topic_of(kafka, line, (size_t)(space - line)) : NULL;
        if (!topic) {
            fprintf(stderr, "line %" PRIu64 ": no topic\n", lines + 1);
            return 1;
        }
        const size_t head = (size_t)(space + 1 - line);
        while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)(line + head),
                                length - head, NULL, 0, NULL) != 0) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                fprintf(stderr, "rd_kafka_produce: %s\n", rd_kafka_err2str(rd_kafka_last_error()));
                return 1;
            }
            rd_kafka_poll(kafka, 1);
            waits++;
        }
        if (++lines % 1000 == 0)
            rd_kafka_poll(kafka, 0);
    }
    rd_kafka_flush(kafka, 120000);
    rd_kafka_destroy(kafka);
    print_cost(lines, delivered, waits, start);
    return delivered == lines && failed == 0 ? 0 : 1;
}
