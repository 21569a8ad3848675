"""The visitors of a host: wrk with 20 connections, which asks for what it is given in turn, and says at any time how often it
has asked.

What is asked for is dealt into hands that are alike, as cards are by their value: windows of one hand each are as short as the machine
changes, and have the same requests.

A long run's connections stay: in new ones the kernel finds its buffers' sizes anew, and an answer of 1 MiB then differs by 10 % of the
CPU from one run to the next.
"""

import mmap
import random
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LINES = HERE.parents[1] / "src/bin/teld/demo/access.log"
LINE = re.compile(r'\S+ \S+ \S+ \[[^]]*\] "[A-Z]+ (\S+) HTTP/[\d.]+" \d{3} (\d+|-) "(.*)" "(.*)"$')
REFERER = "https://www.example.com/some/page.html"
CONNECTIONS = 20
HAND = 100  # requests, at least: with fewer, what one of 1 MiB takes more is that of many
PART = 1 << 20  # bytes: what is longer is asked for in parts, as players do
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def of_size(body):
    """A browser's request for so many bytes: (bytes, path, Referer, User-Agent)."""
    return [(body, f"/sized/{body}", REFERER, AGENT)]


def of_log():
    """What the demo's real lines tell of: each one's path, Referer and User-Agent, and answers of as many bytes."""
    found = []
    for line in LINES.read_text().splitlines():
        path, sent, referer, agent = LINE.match(line).groups()
        left = 0 if sent == "-" else int(sent)
        parts = [PART] * (left // PART) + [left % PART] * (left % PART > 0 or left == 0)
        found += [(part, f"/sized/{part}?{path}", referer, agent) for part in parts]
    return found


def milliseconds(text):
    # Minutes and hours, too: wrk reckons with a clock that may be set back.
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m|h)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}[unit]


def answered(said):
    """The requests of a run of wrk, by what it says: all of them were answered, or this is the bench's end."""
    if "Socket errors" in said or "Non-2xx" in said:
        sys.exit(f"wrk: requests failed:\n{said}")
    return int(re.search(r"(\d+) requests in", said).group(1))


def dealt(requests):
    """Hands of the requests, of which each has as many large answers and small ones as the others, in an order of its own."""
    hands = max(1, len(requests) // HAND)
    by_size = sorted(requests)
    draw = random.Random(3)
    return [draw.sample(hand, len(hand)) for hand in (by_size[n::hands] for n in range(hands))]


class Visitors:
    def __init__(self, url, requests, hosts, processor, folder):
        """`hosts` are the virtual hosts' names, of which one is asked at a time; wrk runs on the processor."""
        self.url, self.hosts, self.processor = url, hosts, processor
        self.hands = dealt(requests)
        self.requests, self.page = folder / "requests", folder / "page"
        self.requests.write_text("".join(f"{n}\t{path}\t{referer}\t{agent}\n" for n, hand in enumerate(self.hands) for _, path, referer, agent in hand))
        self.page.write_bytes(bytes(mmap.PAGESIZE))
        with open(self.page, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.process = None
        self.turn = len(self.hands[0])

    def deal(self, turn):
        """The next hand, of which all requests are from now on."""
        n = turn % len(self.hands)
        struct.pack_into("=Q", self.memory, 16, n)
        self.turn = len(self.hands[n])

    def choose(self, host):
        """The host of every request from now on."""
        struct.pack_into("=Q", self.memory, 8, self.hosts.index(host))

    def asked(self):
        """Requests, up to now."""
        return struct.unpack_from("=Q", self.memory, 0)[0]

    def run(self, seconds):
        """A run of its own: what wrk says at its end."""
        return self.read(self.start(seconds).communicate()[0])

    def begin(self):
        """The long run."""
        self.process = self.start(86_400)
        while self.asked() < 1000:
            if self.process.poll() is not None:
                self.read(self.process.communicate()[0])
            time.sleep(0.01)

    def settle(self):
        """Waits until what was asked for up to now is answered, and every connection has asked anew."""
        self.await_asked(self.asked() + 2 * CONNECTIONS)

    def pass_by(self, seconds, requests):
        """Waits so long, for as many requests at the least, and until they are all those of the hand, once or several times."""
        began = self.asked()
        time.sleep(seconds)
        self.await_asked(began + self.turn * -(-max(requests, self.asked() - began) // self.turn))

    def await_asked(self, end):
        while self.asked() < end:
            if self.process.poll() is not None:
                self.read(self.process.communicate()[0])
            time.sleep(0.0005)

    def end(self):
        """Ends the long run: what wrk says of it."""
        self.process.send_signal(signal.SIGINT)
        return self.read(self.process.communicate(timeout=60)[0])

    def start(self, seconds):
        # Whatever ends the bench ends it, too: a long run would go on for a day.
        wrk = ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(self.processor),
               "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(HERE / "visitors.lua"), self.url]
        return subprocess.Popen([*wrk, "--", str(self.requests), str(self.page), *self.hosts], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def read(self, said):
        try:
            slowest = re.search(r"Latency\s+\S+\s+\S+\s+(\S+)", said).group(1)
            return {"requests": answered(said),
                    "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)),
                    "p99": milliseconds(re.search(r"\s99%\s+(\S+)", said).group(1)), "slowest": milliseconds(slowest)}
        except (AttributeError, ValueError):
            sys.exit(f"wrk said:\n{said}")

