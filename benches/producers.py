"""Producers side by side into a real Kafka: what a line costs each of them, from a file to the broker's acknowledgement."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from ratios import against, say, spread

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "bench"
KAFKA = ROOT / "tests" / "kafka" / "kafka"
PYTHON = ROOT / "target" / "python-bench" / "bin" / "python"
CLIENTS = 100
# Lines a second of a busy edge, for what a producer costs that is not driven to its limit.
PACE = 50_000
# Every line has arrived within this time, or the run has failed.
PATIENCE_S = 300


class Broker:
    """A Kafka of its own for one codec, gone with everything it stored when this is left."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        started = subprocess.run([KAFKA, "start", self.folder], stdout=subprocess.PIPE, text=True)
        if started.returncode:
            sys.exit("bench: no Kafka, see above")
        env = dict(line.split("=", 1) for line in started.stdout.split())
        self.servers = env["TEL_KAFKA_PLAINTEXT"]
        self.admin(f"topics c 0 {CLIENTS}")
        return self

    def __exit__(self, *_):
        subprocess.run([KAFKA, "stop", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def admin(self, commands):
        done = subprocess.run([KAFKA, "admin", self.folder], input=commands, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def arrived(self):
        """Lines in all topics."""
        return sum(int(line.split()[1]) for line in self.admin("offsets c*").splitlines())

    def stored(self):
        """Bytes of all batches, as they came over the wire."""
        return sum(log.stat().st_size for log in self.folder.glob("data/c*-0/*.log"))


class Producer:
    """A program that prints its own cost as JSON."""

    def __init__(self, *command):
        self.command = command

    def run(self, log, _arrived):
        done = subprocess.run(self.command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.check(done.returncode, log)
        return json.loads(done.stdout)

    def check(self, status, log):
        if status:
            log.flush()
            sys.exit(f"bench: {Path(self.command[0]).name} failed ({status}): see {Path(log.name).relative_to(ROOT)}")


class Child(Producer):
    """A program whose cost the system tells when it has ended."""

    def run(self, log, arrived):
        start = time.monotonic()
        child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait(child, arrived)
        _, status, usage = os.wait4(child.pid, 0)
        self.check(status, log)
        return {
            "user": usage.ru_utime,
            "system": usage.ru_stime,
            "wall": time.monotonic() - start,
            "max_rss_kb": usage.ru_maxrss,
            "voluntary": usage.ru_nvcsw,
            "involuntary": usage.ru_nivcsw,
        }

    def wait(self, child, arrived):
        pass


class Rsyslog(Child):
    """rsyslog follows the file for ever: it is stopped once all lines have arrived."""

    CONFIG = """
module(load="imfile")
module(load="omkafka")
global(workDirectory="{folder}" parser.escapeControlCharactersOnReceive="off")
main_queue(queue.type="LinkedList" queue.size="250000" queue.dequeueBatchSize="10000")
template(name="topic" type="string" string="%$!client%")
template(name="line" type="string" string="%$!line%")
input(type="imfile" file="{lines}" tag="bench" readMode="0")
set $!client = field($msg, 32, 1);
set $!line = substring($msg, strlen($!client) + 1, strlen($msg));
action(type="omkafka" broker=["{servers}"] topic="topic" dynaTopic="on" dynaTopic.cachesize="1000" template="line"
       confParam=["compression.codec={codec}", "queue.buffering.max.ms=1000", "queue.buffering.max.messages=250000",
                  "batch.num.messages=10000", "enable.idempotence=true"])
"""

    def __init__(self, folder, servers, codec, lines_file):
        super().__init__("/usr/sbin/rsyslogd", "-n", "-f", folder / "rsyslog.conf", "-i", folder / "rsyslog.pid")
        self.folder = folder
        self.config = self.CONFIG.format(folder=folder, lines=lines_file, servers=servers, codec=codec)

    def run(self, log, arrived):
        # Its place in the file is kept there, too.
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / "rsyslog.conf").write_text(self.config)
        return super().run(log, arrived)

    def wait(self, child, arrived):
        end = time.monotonic() + PATIENCE_S
        while not arrived():
            if child.poll() is not None or time.monotonic() > end:
                child.kill()
                sys.exit(f"bench: rsyslog did not send everything, status {child.returncode}")
        child.send_signal(signal.SIGTERM)


def producers(form, servers, codec, clients_file, lines_file):
    """What is compared, by name."""
    config = {
        "kafka": {"bootstrap.servers": servers, "compression.codec": codec},
        "clients.file": str(clients_file),
    }
    some = {
        "original": Producer(PYTHON, ROOT / "benches/peers/original_producer.py", servers, codec, clients_file, lines_file),
        "tel": Producer(OUT / "submit_lines", json.dumps(config), lines_file),
    }
    if form == "quick" or codec != "gzip":
        return some
    some[f"tel, {PACE:,} lines/s"] = Producer(OUT / "submit_lines", json.dumps(config), lines_file, str(PACE))
    settings = ["queue.buffering.max.ms=1000", "batch.num.messages=10000", "queue.buffering.max.messages=250000"]
    settings += ["enable.idempotence=true", f"compression.codec={codec}"]
    some["rd_kafka_produce loop"] = Producer(OUT / "produce_loop", servers, codec, lines_file)
    # One topic: it has no way to tell lines apart.
    some["kcat, one topic"] = Child(
        "kcat", "-P", "-b", servers, "-t", "c0", *(word for setting in settings for word in ("-X", setting)), "-l", lines_file
    )
    some["rsyslog omkafka"] = Rsyslog(OUT / "rsyslog", servers, codec, lines_file)
    return some


def make_lines(count):
    path = OUT / "lines" / f"{count}-{CLIENTS}.txt"
    if not path.exists():
        say(f"making {count:,} lines for {CLIENTS} clients")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            subprocess.run([sys.executable, ROOT / "benches/gen_lines.py", str(count), str(CLIENTS)], stdout=file, check=True)
        part.rename(path)
    # Read once, so that the first run does not wait for the disk.
    return path, sum(len(line.split(b" ", 1)[1]) - 1 for line in path.open("rb"))


def measure_codec(form, codec, lines_file, value_bytes, count, runs):
    clients_file = OUT / f"clients-{CLIENTS}.json"
    clients_file.write_text(json.dumps({"revision": 1, "clients": [{"id": f"c{n}"} for n in range(CLIENTS)]}))
    series = {}
    with Broker(OUT / "kafka") as broker, (OUT / f"end_to_end-{codec}.log").open("w") as log:
        before, stored = broker.arrived(), broker.stored()
        for run in range(runs + 1):
            for name, producer in producers(form, broker.servers, codec, clients_file, lines_file).items():
                result = producer.run(log, lambda: broker.arrived() - before >= count)
                now, stored_now = broker.arrived(), broker.stored()
                result["arrived"], result["stored"] = now - before, stored_now - stored
                before, stored = now, stored_now
                if result["arrived"] != count:
                    sys.exit(f"bench: of {count} lines of {name} {result['arrived']} arrived")
                result["cpu"] = result["user"] + result["system"]
                result["cpu_us_per_line"] = result["cpu"] / count * 1e6
                result["compression"] = value_bytes / result["stored"]
                # The first run meets a cold broker.
                if run > 0:
                    series.setdefault(name, []).append(result)
                warm = "" if run else " (to warm up, not counted)"
                say(f"{codec}: {name} {result['cpu_us_per_line']:.2f} us/line, all {count:,} lines arrived{warm}")
    return series


def column(runs, key):
    return [run[key] for run in runs]


def end_to_end_table(results):
    lines = [
        "| codec | producer | CPU us/line: min / median / max | original's CPU / this: min / median / max | original's at gzip / this "
        "| user s | system s | wall s | max RSS MB | switches voluntary / involuntary | compression |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    at_gzip = median(column(results["gzip"]["original"], "cpu"))
    for codec, series in results.items():
        base = column(series["original"], "cpu")
        for name, runs in series.items():
            mid = {key: median(column(runs, key)) for key in runs[0] if key != "version"}
            lines.append(
                f"| {codec} | {name} | {spread(column(runs, 'cpu_us_per_line'))} "
                f"| {spread(against(base, column(runs, 'cpu')))} | {at_gzip / mid['cpu']:.2f} | {mid['user']:.2f} | {mid['system']:.2f} "
                f"| {mid['wall']:.1f} | {mid['max_rss_kb'] / 1024:.0f} "
                f"| {mid['voluntary']:,.0f} / {mid['involuntary']:,.0f} | {mid['compression']:.2f} |"
            )
    return lines
