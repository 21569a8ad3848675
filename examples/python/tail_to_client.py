#!/usr/bin/env python3
"""Follows a growing log file, over rotations, and submits each new line as one of a single client.

    tail_to_client.py CONFIG CLIENT FILE [--from-start]

For a log that belongs to one client as a whole. Nothing in a line can send it elsewhere (submit_for), and while the
client is in no list its lines are skipped before any work is done (wants). Ends at SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO, Optional

import tel

stopped = threading.Event()


def main() -> int:
    parser = argparse.ArgumentParser(description="follow a log file into one client's Kafka topic")
    parser.add_argument("config", type=Path, help="libtel's configuration, a JSON file")
    parser.add_argument("client", help="the client every line belongs to")
    parser.add_argument("file", type=Path, help="the file to follow; it may come later")
    parser.add_argument("--from-start", action="store_true", help="what is in the file already is submitted too")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())

    try:
        producer = tel.Producer(arguments.config)
    except (tel.TelError, OSError) as problem:
        print(f"{parser.prog}: {problem}", file=sys.stderr)
        return 1
    skipped = refused = 0
    tail = Tail(arguments.file, arguments.from_start)
    try:
        with producer:
            while True:
                # Asked before the reading: what was written before the request to stop is still taken.
                last = stopped.is_set()
                line = tail.line()
                if line is not None:
                    if not producer.wants(arguments.client):
                        skipped += 1
                    else:
                        try:
                            producer.submit_for(arguments.client, line)
                        except (tel.QueueFull, tel.LineTooLong):
                            refused += 1
                elif last:
                    break
                else:
                    stopped.wait(0.2)
    except tel.Timeout:
        print("not everything could be delivered in time", file=sys.stderr)
    stats = producer.stats()
    lost = stats.failed + stats.in_flight
    print(f"delivered {stats.delivered:,}, skipped {skipped:,}, refused {refused:,}, not delivered {lost:,}")
    return 0


class Tail:
    """The whole lines of a file as it grows, is truncated, or is moved away and made anew."""

    def __init__(self, path: Path, from_start: bool) -> None:
        self._path = path
        self._file: Optional[BinaryIO] = None
        self._part = b""
        self._open()
        if self._file is not None and not from_start:
            self._file.seek(0, os.SEEK_END)

    def line(self) -> Optional[bytes]:
        """The next whole line, or None if there is none yet."""
        if self._file is None and not self._open():
            return None
        while self._file is not None:
            piece = self._file.readline()
            self._part += piece
            if self._part.endswith(b"\n"):
                line, self._part = self._part[:-1], b""
                return line
            # The end of what is written. A file moved away is read to its end before the new one is opened.
            if piece or not self._replaced():
                return None
            self._open()
        return None

    def _open(self) -> bool:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return False
        if self._file is not None:
            self._file.close()
        self._file, self._part = file, b""
        return True

    def _replaced(self) -> bool:
        assert self._file is not None
        mine = os.fstat(self._file.fileno())
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino) or named.st_size < self._file.tell()


if __name__ == "__main__":
    sys.exit(main())
