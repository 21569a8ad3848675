"""Waiting for conditions, and looking at processes from outside."""

import os
import random
import re
import signal
import socket
import threading
import time
from pathlib import Path

# Longer than anything here takes on a busy machine.
PATIENCE_S = 60
LOOK_S = 0.02


def wait_for(what, condition, seconds=PATIENCE_S):
    """Waits until `condition()` gives something true, and returns that. `what` is a text, or gives one."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(LOOK_S)


def let_pass(seconds):
    """For what is measured over a time. To wait for something there is `wait_for`."""
    time.sleep(seconds)


def free_port():
    """A port nobody listens on, below those that the system gives to outgoing connections."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10000, max(lowest, 12000))
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def is_answered(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Beside:
    """What goes on in a thread of its own while a block runs: `run`, until `over` is set."""

    def __init__(self):
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.over.set()
        self.thread.join()


class Process:
    """Another process, as /proc shows it."""

    def __init__(self, pid):
        self.pid = pid
        self.folder = Path("/proc") / str(pid)

    def __eq__(self, other):
        return self.pid == other.pid

    def __hash__(self):
        return hash(self.pid)

    def __repr__(self):
        return f"process {self.pid}"

    def fields(self):
        """What follows the name in proc(5)'s stat; none if the process is gone."""
        try:
            return (self.folder / "stat").read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return []

    def state(self):
        return (self.fields() or [""])[0]

    def parent(self):
        return int((self.fields() or ["0", "0"])[1])

    def age(self):
        """Seconds since it was started; 0 if it is gone."""
        fields = self.fields()
        if not fields:
            return 0
        up = float(Path("/proc/uptime").read_text().split()[0])
        return up - int(fields[19]) / os.sysconf("SC_CLK_TCK")

    def command(self):
        try:
            return (self.folder / "cmdline").read_bytes().split(b"\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def memory(self, name="VmRSS"):
        """Bytes of a line such as VmRSS, VmHWM (its peak) or RssAnon of proc(5)'s status."""
        return 1024 * int(re.search(rf"^{name}:\s+(\d+) kB", (self.folder / "status").read_text(), re.M)[1])

    def threads(self):
        """By thread id: its name, nanoseconds on a processor, and how often it has gone to sleep."""
        found = {}
        for task in (self.folder / "task").iterdir():
            try:
                status = (task / "status").read_text()
                name = (task / "comm").read_text().rstrip("\n")
                on_processor = int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
            sleeps = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[1])
            found[task.name] = (name, on_processor, sleeps)
        return found

    def threads_since(self, before):
        """Of each thread: its name, nanoseconds on a processor and how often it went to sleep, since `threads` said `before`."""
        found = []
        for thread, (name, on_processor, sleeps) in self.threads().items():
            _, earlier, slept = before.get(thread, (name, 0, 0))
            found.append((name, on_processor - earlier, sleeps - slept))
        return found

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def children(self):
        return [process for process in processes() if process.parent() == self.pid]


def processes():
    return [Process(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def processes_of(program, argument):
    """Those that run `program` with `argument`, zombies left out: they have no command line."""
    found = []
    for process in processes():
        command = process.command()
        if command and Path(os.fsdecode(command[0])).name == program and os.fsencode(argument) in command:
            found.append(process)
    return found
