#!/usr/bin/env python3
"""What a submit from Python costs with the GIL kept (PyDLL, as tel does) and given up (CDLL), side by side.

Lines are of a client that is in no list, so that no broker's work is in the figures. Rounds of the two ways alternate.
"Busy" threads compute in Python meanwhile, as a program that has something to log does. Use: submit_gil.py [ROUNDS]
"""

from __future__ import annotations

import ctypes
import statistics
import sys
import threading
import time
from typing import Callable, Dict, List

import tel
from tel._library import library

LINE = b"nobody " + b"x" * 243
# Threads that submit, threads that are busy, lines of each submitting thread.
SCENES = ((1, 0, 20_000), (4, 0, 5_000), (1, 1, 20_000))


def per_line(submit: Callable[..., int], handle: int, submitting: int, busy: int, lines: int) -> float:
    """Microseconds of wall time for each line, over all threads."""
    start = threading.Barrier(submitting + busy + 1)
    done = threading.Event()

    def run() -> None:
        size = len(LINE)
        start.wait()
        for _ in range(lines):
            submit(handle, LINE, size)

    def compute() -> None:
        start.wait()
        while not done.is_set():
            sum(range(100))

    others = [threading.Thread(target=compute) for _ in range(busy)]
    workers = [threading.Thread(target=run) for _ in range(submitting)]
    for thread in others + workers:
        thread.start()
    start.wait()
    begin = time.perf_counter_ns()
    for thread in workers:
        thread.join()
    took = time.perf_counter_ns() - begin
    done.set()
    for thread in others:
        thread.join()
    return took / 1000 / (lines * submitting)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    kept = library().submit
    given_up = ctypes.CDLL(_path()).tel_submit
    given_up.restype, given_up.argtypes = kept.restype, kept.argtypes  # type: ignore[attr-defined]
    ways: Dict[str, Callable[..., int]] = {"GIL kept": kept, "GIL given up": given_up}
    with tel.Producer({"embedded_broker": True}, log=lambda level, message: None) as producer:
        for submitting, busy, lines in SCENES:
            times: Dict[str, List[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                for name, submit in ways.items():
                    times[name].append(per_line(submit, producer._handle, submitting, busy, lines))
                    producer.flush(30)
            base = statistics.median(times["GIL kept"])
            print(f"{submitting} submitting, {busy} busy; microseconds for each line: min, median, max")
            for name, values in times.items():
                middle = statistics.median(values)
                print(f"  {name:12} {min(values):9.2f} {middle:9.2f} {max(values):9.2f}  {middle / base:8.2f}x")
        print(f"lines refused for want of room: {producer.stats().dropped_full}")


def _path() -> str:
    """The file libtel was loaded from."""
    with open("/proc/self/maps") as maps:
        return next(line.split(None, 5)[5].strip() for line in maps if "libtel" in line)


if __name__ == "__main__":
    main()
