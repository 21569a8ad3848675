"""From the click on Subscribe to the first line: use `run`."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent.parent / "examples" / "stack")]
import agreement  # noqa: E402
import leaks  # noqa: E402
import rights  # noqa: E402
from browser import Browser  # noqa: E402
from system import CONTROL, TELD, Control, Edge, Failed, Kafka, wait_for  # noqa: E402

EDGES = 20
# So many of them have inputs with lines of the client.
FEEDING = 3
# The bound of the issue for each run.
BOUND_S = 20
# In the order in which they come; `rights` are those of the certificate in the bundle.
STAGES = ["recorded", "topic", "list", "edges", "shown", "bundle", "consumer", "rights", "line"]


class System:
    """Kafka, tel-control and edges."""

    def __init__(self, folder):
        self.folder, self.edges, self.started = folder, [], []

    def start(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.kafka = self.begin(Kafka(self.folder / "kafka"))
        self.kafka.start()
        self.control = self.begin(Control(self.folder / "control", self.kafka)).make()
        self.control.start()
        for number in range(1, EDGES + 1):
            folder = self.folder / f"e{number}"
            inputs = {"cdn": {"type": "fifo", "path": str(folder / "cdn.fifo")}} if number <= FEEDING else {}
            self.edges.append(self.begin(Edge(folder, self.control, f"edge-{number}", inputs)).make().start())
        wait_for(f"all {EDGES} edges follow the list", lambda: self.heard() == EDGES)
        self.traffic = Traffic([edge.folder / "cdn.fifo" for edge in self.edges[:FEEDING]])
        return self

    def begin(self, part):
        self.started.append(part)
        return part

    def heard(self):
        edges = json.loads(self.control.run("edge", "list", "--json"))["edges"]
        return sum(edge["heard"] for edge in edges)

    def client(self, id):
        return json.loads(self.control.run("client", "show", id, "--json"))

    def wait_until_active(self, id):
        return wait_for(f"{id} is active", lambda: self.client(id)["state"] == "active")

    def end(self):
        for part in reversed(self.started):
            part.end()


class Traffic:
    """Lines of one client at a time, into the edges' inputs, for as long as the process lives."""

    def __init__(self, fifos):
        self.client, self.number = None, 0
        threading.Thread(target=self.run, args=[fifos], daemon=True).start()

    def run(self, fifos):
        outs = [fifo.open("wb", buffering=0) for fifo in fifos]
        while True:
            client = self.client
            for out in outs if client else []:
                self.number += 1
                try:
                    out.write(f'{client} 192.0.2.1 - - "GET /{client}/{self.number} HTTP/1.1" 200 512\n'.encode())
                except BrokenPipeError:
                    # The edge has ended.
                    return
            time.sleep(0.1)


def one_run(system, browser, id, work):
    """The times of one client's onboarding, in seconds since its click; and the secrets that it was given, beside those in the bundle."""
    token = system.control.run("token", "add", id, "--client", id).strip()
    cookies = browser.sign_in(system.control.url, token)
    system.traffic.client = id

    clicked = browser.subscribe()
    archive = work / f"{id}.zip"
    shown = browser.await_active()
    # What the panel shows has happened: the edges have written it, and it is not only the database that says so.
    for edge in system.edges:
        if id not in edge.clients():
            raise Failed(f"{id}: the panel says that all edges have it, {edge.name} has not")
    with agreement.Granted(system, f"User:CN={id}:1") as granted:
        downloaded, saved = browser.download(archive)
        folder = work / id
        subprocess.run(["unzip", "-q", archive, "-d", folder], check=True)
        script = next(folder.rglob("consume.py"))
        started = time.time()
        with (work / f"{id}.err").open("w") as said:
            consumer = subprocess.Popen(
                [sys.executable, script, "--count", "1"], stdout=subprocess.PIPE, stderr=said, text=True
            )
            line = consumer.stdout.readline()
            first = time.time()
            consumer.wait(60)
    if f"/{id}/" not in line or consumer.returncode != 0:
        raise Failed(f"{id}: consume.py ended with {consumer.returncode} and {line!r}:\n{(work / f'{id}.err').read_text()}")

    client = system.client(id)
    agreement.check(system, id, client, browser, shown, downloaded, granted)
    done = {step["name"]: unix(step["changed_at"]) for step in client["steps"]}
    times = {
        "recorded": unix(client["created_at"]),
        **{name: done[name] for name in ["topic", "list", "edges"]},
        "shown": shown,
        "bundle": saved,
        "consumer": started,
        # Made once for the client, and again for each new certificate.
        "rights": done["acls"],
        "line": first,
    }
    return {name: at - clicked for name, at in times.items()}, [token, *cookies]


def unix(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def quantile(values, share):
    """The nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def report(runs):
    """A table: p50, p95 and maximum of the whole, and of each stage's own part."""
    lines = [f"{'':<10}{'p50':>8}{'p95':>8}{'max':>8}  seconds since all the stages before"]
    figures = {}
    for number, stage in enumerate(STAGES):
        # Some are done side by side: what is over already takes nothing.
        figures[stage] = [max(0, run[stage] - max([run[name] for name in STAGES[:number]], default=0)) for run in runs]
    figures["whole"] = [run["line"] for run in runs]
    for stage, took in figures.items():
        lines.append(f"{stage:<10}{quantile(took, 0.5):>8.3f}{quantile(took, 0.95):>8.3f}{max(took):>8.3f}")
    return "\n".join(lines)


def main():
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    for program in [CONTROL, TELD]:
        if not program.exists():
            sys.exit(f"onboard: no {program}; cargo build makes it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = folder / "runs"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    system = System(folder / "system")
    browser = None
    runs, secrets = [], []
    try:
        start = time.monotonic()
        system.start()
        print(f"onboard: Kafka, tel-control and {EDGES} edges run after {time.monotonic() - start:.1f} s", flush=True)
        browser = Browser(os.environ["ONBOARD_MODULES"], work / "browser.log")
        for number in range(1, count + 1):
            times, given = one_run(system, browser, f"run-{number}", work)
            runs.append(times)
            secrets += given
            print(f"run {number}: " + ", ".join(f"{name} {at:.2f}" for name, at in times.items()), flush=True)
            if times["line"] >= BOUND_S:
                raise Failed(f"run {number} took {times['line']:.1f} s, {BOUND_S} are allowed: {times}")
        print(report(runs), flush=True)
        p95 = quantile([run["line"] for run in runs], 0.95)
        if p95 >= float(os.environ.get("ONBOARD_P95", BOUND_S)):
            raise Failed(f"the 95th percentile is {p95:.1f} s")
        if len(sys.argv) > 3:
            Path(sys.argv[3]).write_text(json.dumps({"edges": EDGES, "stages": STAGES, "runs": runs}, indent=1) + "\n")
        if len(sys.argv) < 4:
            rights.check(system, work)
        made = leaks.keys([work, *(edge.folder for edge in system.edges)])
        if len(made) <= len(system.edges):
            raise Failed(f"only {len(made)} keys are there to be looked for")
        leaks.check(system.control, secrets, made)
        ended, browser = browser, None
        if complaints := ended.end():
            raise Failed(f"pages complained: {complaints}")
    except Failed as error:
        sys.exit(f"onboard: {error}\ntel-control says:\n{system.control.program.said() if hasattr(system, 'control') else ''}")
    finally:
        if browser and (complaints := browser.end()):
            print(f"onboard: pages complained: {complaints}", file=sys.stderr)
        system.end()


if __name__ == "__main__":
    main()
