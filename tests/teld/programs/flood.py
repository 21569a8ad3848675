"""Writes numbered lines one by one, and prints what came of it as JSON: how many were taken, how often one was refused,
and how long the slowest write took.

Use: flood.py fifo|stream|datagram PATH CLIENT [--lines N] [--seconds S] [--rate LINES_A_SECOND] [--again]

It ends when one of the bounds is reached, or when it is asked to by TERM; without --again also when a write is refused,
as it is when nobody reads any more.
"""

import argparse
import json
import os
import signal
import socket
import time

LENGTH = 200


def connected(kind, path):
    if kind == "fifo":
        descriptor = os.open(path, os.O_WRONLY)
        return lambda line: os.write(descriptor, line)
    writer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM)
    writer.connect(path)
    return writer.sendall


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["fifo", "stream", "datagram"])
    parser.add_argument("path")
    parser.add_argument("client")
    parser.add_argument("--lines", type=float, default=float("inf"))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--rate", type=float)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))

    client = options.client.encode()
    filling = b"x" * (LENGTH - len(client) - 15)
    write = connected(options.kind, options.path)
    written = refused = slowest = 0
    start = now = time.perf_counter_ns()
    end = start + options.seconds * 1e9
    while not asked and written < options.lines and now < end:
        line = b"%s %012d %s\n" % (client, written, filling)
        before = time.perf_counter_ns()
        try:
            if not write:
                write = connected(options.kind, options.path)
            write(line)
        except (ConnectionError, FileNotFoundError):
            refused += 1
            if not options.again:
                break
            # A FIFO stays the same whoever reads it; a socket is another one.
            if options.kind != "fifo":
                write = None
            time.sleep(0.001)
            continue
        now = time.perf_counter_ns()
        slowest = max(slowest, now - before)
        written += 1
        if options.rate:
            ahead = start + written / options.rate * 1e9 - now
            # Short sleeps take longer than they are told.
            if ahead > 2e6:
                time.sleep(ahead / 1e9)
    seconds = (time.perf_counter_ns() - start) / 1e9
    print(json.dumps({"written": written, "refused": refused, "slowest_ms": slowest / 1e6, "seconds": seconds}))


main()
