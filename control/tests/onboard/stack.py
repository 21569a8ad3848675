"""The local stack as its user meets it, from its start to Ctrl-C: use `run stack`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "examples" / "stack"))
from system import CONTROL, Failed, wait_for  # noqa: E402

# From its start to the panel's address.
START_S = 60
END_S = 60


class Stack:
    """`examples/stack/stack` in a folder of its own; what it prints."""

    def __init__(self, folder):
        self.folder, self.said = folder, []
        shutil.rmtree(folder, ignore_errors=True)
        command = [ROOT / "examples" / "stack" / "stack", folder]
        # A session of its own, so that Ctrl-C here does not reach it a second time.
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))

    def find(self, pattern):
        """What the pattern's group has in the lines so far."""
        return next((found[1] for line in list(self.said) if (found := re.fullmatch(pattern, line))), None)

    def wait_for(self, pattern, seconds):
        def lives_and():
            found = self.find(pattern)
            if not found and self.process.poll() is not None:
                raise Failed(f"the stack has ended ({self.process.returncode}): {self.said}")
            return found

        return wait_for(f"{pattern!r} in {self.said}", lives_and, seconds)

    def processes(self):
        """Those of its parts and of what they have started: numbers with what runs there."""
        all = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit():
                    parent = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
                    words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    all[int(entry.name)] = (parent, " ".join(words))
            except OSError:
                continue
        own = {pid for pid, (_, command) in all.items() if str(self.folder) in command and pid != os.getpid()}
        while more := {pid for pid, (parent, _) in all.items() if parent in own} - own:
            own |= more
        return {pid: all[pid][1] for pid in own if all[pid][1]}

    def interrupt(self):
        """As Ctrl-C does. Its exit status."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"the stack does not end within {END_S} s: {self.said}") from None

    def end(self):
        """By an order that it takes as well, if it has not ended."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def ask(url, token, method="GET", body=None):
    """The API's status and answer."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed(f"{command}: {done.stderr.strip()}")
    return done.stdout


def first_line(archive, folder):
    """What the bundle's own script reads first."""
    run(["unzip", "-q", archive, "-d", folder])
    script = next(folder.rglob("consume.py"))
    done = subprocess.run([sys.executable, script, "--count", "1"], stdout=subprocess.PIPE, text=True, timeout=60)
    if done.returncode != 0 or " HTTP/1.1" not in done.stdout:
        raise Failed(f"consume.py ended with {done.returncode} and {done.stdout!r}")
    return done.stdout.strip()


def tried(stack, work):
    # As it is printed.
    add, show = (stack.wait_for(rf"  (\S+ client {word} c83 --config \S+)", 1).split() for word in ["add", "show"])
    run(add)
    wait_for("c83 is active", lambda: json.loads(run([*show, "--json"]))["state"] == "active")
    config = add[-1]
    run([CONTROL, "bundle", "c83", "--out", work / "c83.zip", "--config", config])
    print(f"stack: c83 reads: {first_line(work / 'c83.zip', work / 'c83')}", flush=True)

    # The client demo has no more than its token.
    panel, token = stack.find(r"  panel +(\S+)"), stack.find(r"  as client demo +(\S+)")
    status, answer = ask(f"{panel}/api/v1/clients", token, "POST", {})
    if status != 201:
        raise Failed(f"demo subscribes: {status} {answer}")
    path = f"{panel}/api/v1/clients/demo"
    wait_for("demo is active", lambda: json.loads(ask(path, token)[1])["state"] == "active")
    status, archive = ask(f"{path}/bundle.zip", token, "POST", {})
    if status not in (200, 201):
        raise Failed(f"demo's bundle: {status} {archive[:200]}")
    (work / "demo.zip").write_bytes(archive)
    print(f"stack: demo reads: {first_line(work / 'demo.zip', work / 'demo')}", flush=True)


def main():
    work = Path(sys.argv[1]) / "stack"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start = time.monotonic()
    stack = Stack(work / "system")
    try:
        panel = stack.wait_for(r"  panel +(\S+)", START_S)
        print(f"stack: {panel} after {time.monotonic() - start:.1f} s", flush=True)
        tried(stack, work)
        running = stack.processes()
        for part in ["kafka", "tel-control", "teld", "traffic.py"]:
            if not any(part in command for command in running.values()):
                raise Failed(f"{part} is not among the stack's processes: {running}")
        status = stack.interrupt()
        left = {pid: command for pid, command in running.items() if Path(f"/proc/{pid}/exe").exists()} | stack.processes()
        if status != 0 or left:
            raise Failed(f"after Ctrl-C: status {status}, still running: {left}")
    except Failed as error:
        sys.exit(f"stack: {error}")
    finally:
        stack.end()
    print(f"stack: {len(running)} processes, none of them after Ctrl-C", flush=True)


if __name__ == "__main__":
    main()
