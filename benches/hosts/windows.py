"""Short windows of one long run, in turn: threads' CPU in nanoseconds, and what neighbours differ by.

A server that has just started is like no other that has: what is compared runs side by side, and each window is set
against the windows without a log on both its sides, so that what changes slowly is the same for all.

Where other machines share the hardware, neighbours of 20 ms differ by as much as those of 0.7 s do: by 5 to 8 %, with nothing logged. So, the
shorter windows are, the more of them there are, and the better the median is known.
"""

import contextlib
import os
import random
import re
import statistics
import subprocess
import time
from pathlib import Path

LENGTH = 0.03  # seconds

# libtel's threads and its engine's: the rest of a host's threads are the requests'.
LIBRARY = re.compile(r"tel|rdk")


def threads(pid):
    """Each thread's id and name."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield int(task.name), (task / "comm").read_text().strip()


def pin(pid, processor, which=lambda name: True):
    """Puts those of a process's threads whose name is one of `which` on a processor."""
    for thread, name in threads(pid):
        if which(name):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, {processor})


def is_library(name):
    return LIBRARY.match(name) is not None


def nanoseconds(pid):
    """The CPU that each thread has had, by id: (its name, nanoseconds)."""
    found = {}
    for thread, name in threads(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found[thread] = name, int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    return found


def spent(before, after):
    """Nanoseconds of the requests' own threads, and of all."""
    own = whole = 0
    for thread, (name, now) in after.items():
        used = now - before.get(thread, (name, 0))[1]
        whole += used
        own += 0 if is_library(name) else used
    return own, whole


class Own:
    """The requests' own threads of a process. Their files stay open, for opening those of 200 threads takes as long as a window."""

    def __init__(self, pid):
        self.folder = Path(f"/proc/{pid}/task")
        self.files, self.had = {}, {}

    def nanoseconds(self):
        """The CPU that they have had, those that have ended meanwhile included."""
        for thread in set(os.listdir(self.folder)) - self.files.keys():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                ours = not is_library((self.folder / thread / "comm").read_text().strip())
                self.files[thread] = os.open(self.folder / thread / "schedstat", os.O_RDONLY) if ours else None
        for thread, file in self.files.items():
            if file is not None:
                with contextlib.suppress(ProcessLookupError):
                    self.had[thread] = int(os.pread(file, 100, 0).split()[0])
        return sum(self.had.values())

    def close(self):
        for file in self.files.values():
            if file is not None:
                os.close(file)


def library(before, after):
    """Nanoseconds of libtel's threads."""
    own, whole = spent(before, after)
    return whole - own


def for_a_line(idle, busy):
    """Nanoseconds of libtel's threads for a line, of two runs' lines, seconds and nanoseconds: what they do without any goes off."""
    (_, idle_seconds, idle_spent), (lines, seconds, spent) = idle, busy
    return (spent - idle_spent / idle_seconds * seconds) / lines


def of_another_machine(folder):
    """The processes that were started with this folder: from here on they take what others leave of the processors."""
    pids = list(map(int, subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, text=True).stdout.split()))
    for pid in pids:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, 19)
            Path(f"/proc/{pid}/autogroup").write_text("19")
    return pids


def strangers(but):
    """Nanoseconds that each thread of all other processes has had, those of the pids `but` left out."""
    found = {}
    for process in os.listdir("/proc"):
        if process.isdigit() and int(process) not in but:
            # It may end meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):
                for thread in os.listdir(f"/proc/{process}/task"):
                    with open(f"/proc/{process}/task/{thread}/schedstat") as stat:
                        found[thread] = int(stat.read().split()[0])
    return found


def grown(before, after):
    """Nanoseconds between the two, new threads' included."""
    return sum(now - before.get(thread, 0) for thread, now in after.items())


def median(values, resamples=2000):
    """The median, and the interval that it lies in with 95 % by the bootstrap."""
    draw = random.Random(1)
    of = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(resamples))
    return statistics.median(values), of[int(resamples * 0.025)], of[int(resamples * 0.975)]


def shuffled(cases):
    """Rounds of all cases, each in an order of its own; the same orders every time."""
    draw = random.Random(7)
    while True:
        yield draw.sample(cases, len(cases))


def mean(one, other):
    return (one + other) / 2


def rounds(cases, window, end, begins=lambda turn: None, between=mean):
    """
    Of each case, each round's window, and that of nothing: what is `between` those before and after it.

    `window(case)` measures one, "nothing" too; `begins(turn)` comes before each round's first, and no round after `end`, a monotonic time.
    """
    found = {case: [] for case in cases}
    for turn, order in enumerate(shuffled(cases)):
        begins(turn)
        before = window("nothing")
        for case in order:
            of_case, after = window(case), window("nothing")
            found[case].append((of_case, between(before, after)))
            before = after
        if time.monotonic() > end:
            return found
