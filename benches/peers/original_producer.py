#!/usr/bin/env python3
"""A re-creation of the original system's producer, after the article that describes it: a logger's pipe, one split at
the first space, confluent-kafka-python and its eight settings. The baseline of every "how much cheaper" figure.

Use: original_producer.py BOOTSTRAP CODEC CLIENTS.json FILE

FILE holds "<client id> <log line>" lines; the topic is the client id. Prints what it cost as JSON. What the interpreter
and its imports cost is left out, in the original's favour; its logger is a process of its own and left out too.
"""

import json
import resource
import subprocess
import sys
import time

from confluent_kafka import Producer, libversion, version

bootstrap, codec, clients_file, path = sys.argv[1:]
with open(clients_file) as file:
    clients = {client["id"] for client in json.load(file)["clients"]}

before, start = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
producer = Producer(
    {
        "bootstrap.servers": bootstrap,
        "compression.codec": codec,
        "retry.backoff.ms": 3000,
        "queue.buffering.max.messages": 250000,
        "queue.buffering.max.ms": 1000,
        "batch.num.messages": 10000,
        "topic.metadata.refresh.interval.ms": 150000,
        "socket.timeout.ms": 45000,
        "socket.keepalive.enable": True,
    }
)
logger = subprocess.Popen(["cat", path], stdout=subprocess.PIPE, text=True)
lines = produced = full = 0
for data in logger.stdout:
    clientid, logstring = data.split(" ", 1)
    if clientid in clients:
        while True:
            try:
                producer.produce(clientid, logstring.rstrip("\n"))
                produced += 1
                break
            except BufferError:
                full += 1
                producer.poll(0.05)
    producer.poll(0)
    lines += 1
left = producer.flush()
after = resource.getrusage(resource.RUSAGE_SELF)
print(
    json.dumps(
        {
            "lines": lines,
            # It asks for no delivery reports: whoever runs it counts what arrived.
            "delivered": produced - left,
            "queue_full": full,
            "user": after.ru_utime - before.ru_utime,
            "system": after.ru_stime - before.ru_stime,
            "wall": time.monotonic() - start,
            "max_rss_kb": after.ru_maxrss,
            "voluntary": after.ru_nvcsw - before.ru_nvcsw,
            "involuntary": after.ru_nivcsw - before.ru_nivcsw,
            "version": f"confluent-kafka {version()}, librdkafka {libversion()[0]}",
        }
    )
)
