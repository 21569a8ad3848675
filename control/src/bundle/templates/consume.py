#!/usr/bin/env python3
"""Prints the log lines of @ID@, one a line, beginning with the oldest that is kept. The next start goes on where this one ended.

    python3 -m pip install -r python/requirements.txt
    python/consume.py                         until Ctrl-C
    python/consume.py --count 10              ends after 10 lines
    python/consume.py --group @ID@:other      another reading position; groups must begin with "@ID@:"

Several at once with the same group share the lines. Exit code 77: Kafka refuses the certificate or the group; ./check says why.
"""
import argparse
import os
import signal
import sys
import time

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException
except ImportError:
    sys.exit("confluent-kafka is missing: python3 -m pip install -r python/requirements.txt")

TOPIC = "@TOPIC@"
CERTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "certs")
# The rights of a new credential reach all brokers within seconds: until then a refusal is tried again.
PATIENCE = 60
REFUSALS = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


def configuration(group):
    return {
        "bootstrap.servers": "@BOOTSTRAP@",
        "client.id": "@CLIENT_ID@",
        "security.protocol": "ssl",
        "ssl.ca.location": os.path.join(CERTS, "ca.pem"),
        "ssl.certificate.location": os.path.join(CERTS, "client.pem"),
        "ssl.key.location": os.path.join(CERTS, "client.key"),
        "group.id": group,
        "auto.offset.reset": "earliest",
        # Only what has been printed counts as read.
        "enable.auto.offset.store": False,
        # After a crash the next start has to wait no longer than this.
        "session.timeout.ms": 10000,
        "allow.auto.create.topics": False,
        "error_cb": lambda error: print("kafka: %s (./check says what is wrong)" % error, file=sys.stderr),
    }


class Printer:
    """Writes lines, and marks them as read once they are out."""

    def __init__(self, consumer):
        self.consumer, self.last, self.count = consumer, {}, 0

    def add(self, message):
        sys.stdout.buffer.write((message.value() or b"") + b"\n")
        self.last[message.partition()] = message
        self.count += 1

    def flush(self):
        sys.stdout.buffer.flush()
        for message in self.last.values():
            try:
                self.consumer.store_offsets(message=message)
            except KafkaException:
                # The partition is another's by now, which reads these lines again.
                pass
        self.last.clear()


def consume(group, wanted):
    """Returns how many lines were printed, and the refusal that ended it, if one did."""
    consumer = Consumer(configuration(group))
    printer = Printer(consumer)
    try:
        consumer.subscribe([TOPIC])
        while wanted is None or printer.count < wanted:
            message = consumer.poll(0)
            if message is None:
                printer.flush()
                message = consumer.poll(1)
            if message is None:
                continue
            if message.error() is None:
                printer.add(message)
            elif message.error().code() in REFUSALS:
                return printer.count, message.error()
            else:
                print("kafka: %s" % message.error(), file=sys.stderr)
        return printer.count, None
    finally:
        # Even when interrupted: what has been printed is not printed again, and the group knows at once that this reader is gone.
        try:
            printer.flush()
        finally:
            consumer.close()


def main():
    parser = argparse.ArgumentParser(description="Prints your log lines.")
    parser.add_argument("--group", default="@ID@:python")
    parser.add_argument("--count", type=int, help="end after so many lines")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    wanted, deadline = options.count, time.monotonic() + PATIENCE
    while True:
        count, refusal = consume(options.group, wanted)
        if refusal is None:
            return 0
        if wanted is not None:
            wanted -= count
        if count:
            deadline = time.monotonic() + PATIENCE
        print("kafka: %s" % refusal, file=sys.stderr)
        if time.monotonic() > deadline:
            return 77
        time.sleep(1)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:
        # Whoever read this has enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
