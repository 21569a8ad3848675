"""teld and the original producer side by side: processor time for the same lines out of a FIFO. Use: measure.py TELD ROUNDS"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from producers import CLIENTS, OUT, PYTHON, ROOT, Broker, column, make_lines  # noqa: E402
from ratios import against, say, spread  # noqa: E402

LINES = 300_000
CODEC = "gzip"
# As an edge server writes them, and as fast as they are taken.
RATES = {"20,000 a second": 20_000, "as fast as it goes": None}
PATIENCE_S = 120


class Feed:
    """Writes the lines into the FIFO, once somebody reads it."""

    def __init__(self, lines, rate):
        self.blocks, self.rate = [], rate
        for start in range(0, len(lines), 200):
            self.blocks.append(b"".join(lines[start : start + 200]))

    def write(self, fifo, reader):
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:
                if reader.poll() is not None or time.monotonic() > end:
                    sys.exit(f"bench: nobody reads the FIFO, status {reader.returncode}")
                time.sleep(0.01)
        os.set_blocking(descriptor, True)
        start = time.monotonic()
        with open(descriptor, "wb", buffering=0) as file:
            for number, block in enumerate(self.blocks):
                due = start + number * 200 / self.rate - time.monotonic() if self.rate else 0
                if due > 0:
                    time.sleep(due)
                file.write(block)


def seconds_of(child, log):
    """Processor seconds of a child, from its start to its end, once it has ended."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"bench: {Path(child.args[0]).name} failed ({child.returncode}): see {log.name}")
    return usage.ru_utime + usage.ru_stime


class Teld:
    def __init__(self, program, folder, servers, clients_file):
        self.program, self.fifo, self.config = program, folder / "teld.fifo", folder / "teld.json"
        producer = {"kafka": {"bootstrap.servers": servers, "compression.codec": CODEC}, "clients.file": str(clients_file)}
        inputs = {"lines": {"type": "fifo", "path": str(self.fifo), "when_full": "wait"}}
        more = {"status": {"socket": str(folder / "status.sock")}, "drain_timeout_ms": PATIENCE_S * 1000}
        self.config.write_text(json.dumps({"producer": producer, "inputs": inputs, **more}))

    def run(self, feed, log):
        """All of the process, its start and its end too."""
        child = subprocess.Popen([self.program, "run", "--config", self.config], stdin=subprocess.DEVNULL, stderr=log)
        end = time.monotonic() + PATIENCE_S
        feed.write(self.fifo, child)
        while self.read() < LINES:
            if child.poll() is not None or time.monotonic() > end:
                sys.exit(f"bench: teld did not read everything, status {child.returncode}")
            time.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        return {"cpu": seconds_of(child, log)}


    def read(self):
        """Lines that it has read."""
        asked = subprocess.run([self.program, "status", "--config", self.config, "--json"], stdout=subprocess.PIPE, check=True)
        return json.loads(asked.stdout)["inputs"]["lines"]["lines"]


class Original:
    def __init__(self, folder, servers, clients_file):
        self.fifo = folder / "original.fifo"
        os.mkfifo(self.fifo)
        self.command = [PYTHON, ROOT / "benches/peers/original_producer.py", servers, CODEC, clients_file, self.fifo]

    def run(self, feed, log):
        """As it says itself: without the interpreter's start and its imports."""
        child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        feed.write(self.fifo, child)
        told = json.loads(child.stdout.read())
        seconds_of(child, log)
        return {"cpu": told["user"] + told["system"]}


def measure(broker, producers, lines, rounds, log):
    series = {}
    arrived = broker.arrived()
    for round in range(rounds + 1):
        for rate_name, rate in RATES.items():
            for name, producer in producers.items():
                result = producer.run(Feed(lines, rate), log)
                now = broker.arrived()
                if now - arrived != len(lines):
                    sys.exit(f"bench: of {len(lines)} lines of {name} {now - arrived} arrived")
                arrived = now
                # The first round meets a cold broker.
                if round > 0:
                    series.setdefault(rate_name, {}).setdefault(name, []).append(result)
                warm = "" if round else " (to warm up, not counted)"
                say(f"{rate_name}: {name} {result['cpu'] / len(lines) * 1e6:.2f} us/line, all arrived{warm}")
    return series


def table(series, count):
    yield "| lines | producer | CPU us/line: min / median / max | original's CPU / this: min / median / max |"
    yield "|---|---|--:|--:|"
    for rate_name, producers in series.items():
        base = column(producers["original"], "cpu")
        for name, runs in producers.items():
            cpu = column(runs, "cpu")
            yield (
                f"| {rate_name} | {name} | {spread([seconds / count * 1e6 for seconds in cpu])} "
                f"| {spread(against(base, cpu))} |"
            )


def main():
    program, rounds = sys.argv[1], int(sys.argv[2])
    lines_file, _ = make_lines(LINES)
    lines = lines_file.read_bytes().splitlines(keepends=True)
    clients_file = OUT / f"clients-{CLIENTS}.json"
    clients_file.write_text(json.dumps({"revision": 1, "clients": [{"id": f"c{number}"} for number in range(CLIENTS)]}))
    folder = OUT / "teld"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with Broker(OUT / "kafka-teld") as broker, (folder / "log").open("w") as log:
        producers = {
            "original": Original(folder, broker.servers, clients_file),
            "teld": Teld(program, folder, broker.servers, clients_file),
        }
        series = measure(broker, producers, lines, rounds, log)
    print("\n".join(table(series, LINES)))


main()
