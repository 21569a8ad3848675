#!/usr/bin/env python3
"""Submits every line of a file, or of standard input, and shows what became of them.

    submit_file.py CONFIG [FILE] [--client ID]

Lines are "<client id> <log line>"; with --client they are whole lines of that one client. When libtel has no room, this
waits and tries the same line again: right for a file, which can wait. A host with requests to serve lets the line go.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO, Optional

import tel


def main() -> int:
    parser = argparse.ArgumentParser(description="submit the lines of a file to Kafka through libtel")
    parser.add_argument("config", type=Path, help="libtel's configuration, a JSON file")
    parser.add_argument("file", type=Path, nargs="?", help="default: standard input")
    parser.add_argument("--client", help="the client of every line; without it each line begins with its client's id")
    arguments = parser.parse_args()

    # A request to stop ends the reading; what was read is still delivered.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    retries = 0
    try:
        source = arguments.file.open("rb") if arguments.file else sys.stdin.buffer
        producer = tel.Producer(arguments.config)
    except (tel.TelError, OSError) as problem:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 1
    with source, producer:
        try:
            retries = submit_all(producer, source, arguments.client)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        try:
            producer.close(timeout=60)
        except tel.Timeout:
            print("not everything could be delivered within a minute", file=sys.stderr)
        return show(producer, retries)


def submit_all(producer: tel.Producer, source: BinaryIO, client: Optional[str]) -> int:
    """How often a line had to be tried again."""
    retries = 0
    for line in source:
        while True:
            try:
                if client is None:
                    producer.submit(line)
                else:
                    producer.submit_for(client, line)
            except tel.QueueFull:
                retries += 1
                time.sleep(0.01)
            except tel.LineTooLong:
                # Longer at the next try as well: counted by libtel, and shown below.
                break
            else:
                break
    return retries


def show(producer: tel.Producer, retries: int) -> int:
    stats = producer.stats()
    for name, value in dataclasses.asdict(stats).items():
        if value:
            print(f"{name:24}{value:>16,}")
    if retries:
        print(f"{retries:,} of dropped_full are lines tried again, and of submitted too")
    print(f"{'unaccounted for':24}{stats.residual:>16,}")
    undelivered = stats.failed + stats.dropped_too_long + stats.in_flight + stats.dropped_full - retries
    return 1 if undelivered or stats.residual else 0


if __name__ == "__main__":
    sys.exit(main())
