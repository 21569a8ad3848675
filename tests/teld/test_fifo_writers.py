"""Writers of one FIFO that are killed and started again: no line is torn into two, none joined to another."""

import collections
import mmap
import os
import random
import signal
import struct
import time
import unittest
import zlib

import servers
from case import TeldCase
from servers import MIB, open_fifo
from waiting import let_pass, wait_for

# What pipe(7) promises to keep together: PIPE_BUF, newline included.
LONGEST = 4096
SOME_BYTES = bytes(range(0x21, 0x7F)) * (LONGEST // 90)
COUNT = struct.Struct("Q")


def line(client, life, number, length):
    """A line of so many bytes, newline included: who wrote it, its number, filling, and a checksum of all that."""
    head = b"%d %d " % (life, number)
    start = (life + number) % 94
    filling = SOME_BYTES[start : start + max(1, length - len(client) - len(head) - 11)]
    text = head + filling
    return b"%s %s %08x\n" % (client, text, zlib.crc32(text))


class Life:
    """One process that writes lines, until it is killed or told to end."""

    def __init__(self, writers, writer, client):
        self.writers, self.writer, self.client = writers, writer, client
        self.number, self.killed = len(writers.lives), False
        writers.lives.append(self)
        self.pid = os.fork()
        if self.pid == 0:
            # Nothing of the test's own is to run in here, whatever happens.
            try:
                self.write()
                os._exit(0)
            finally:
                os._exit(1)

    def write(self):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        random.seed(self.number)
        fifo = os.open(self.writers.fifo, os.O_WRONLY)
        number = 0
        while not self.writers.told_to_end():
            for _ in range(random.randrange(1, 20)):
                length = random.choice([60, 250, 250, 1000, LONGEST - 1, LONGEST])
                os.write(fifo, line(self.client, self.number, number, length))
                number += 1
                self.writers.note(self.number, number)
            time.sleep(random.random() * self.writers.pause)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.killed = True
        self.reap(-signal.SIGKILL)

    def reap(self, expected):
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        assert os.waitstatus_to_exitcode(status) == expected, f"a writer has ended with {status}"


class Writers:
    """Several lives at a time; how many lines each has written is in memory that they share."""

    MOST_LIVES = 4000

    def __init__(self, fifo, clients, pause):
        self.fifo, self.clients, self.pause = fifo, clients, pause
        self.lives, self.now = [], {}
        # The first number is not 0 when they are to end.
        self.shared = mmap.mmap(-1, COUNT.size * (self.MOST_LIVES + 1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for life in self.lives:
            if life.pid:
                life.kill()

    def told_to_end(self):
        return COUNT.unpack_from(self.shared, 0)[0]

    def note(self, life, count):
        COUNT.pack_into(self.shared, COUNT.size * (life + 1), count)

    def written(self, life):
        return COUNT.unpack_from(self.shared, COUNT.size * (life.number + 1))[0]

    def start(self, writer):
        self.now[writer] = Life(self, writer, self.clients[writer].encode())

    def kill(self, writer):
        self.now.pop(writer).kill()

    def end(self):
        """Tells those that are there to end, and waits until they have."""
        COUNT.pack_into(self.shared, 0, 1)
        for life in self.now.values():
            life.reap(0)
        self.now.clear()


class FifoWriters(TeldCase):
    def start_with(self, clients, producer=None):
        self.clients = self.topics(clients)
        self.fifo = self.folder / "lines.fifo"
        inputs = {"lines": {"type": "fifo", "path": self.fifo, "when_full": "wait"}}
        self.teld = self.start(inputs, self.clients, producer=producer)
        # It is there, and made by teld: a writer would make a file.
        os.close(open_fifo(self.fifo))

    def check(self, writers):
        """Every line of every life has arrived once, whole; of one that was killed the last may not have been written."""
        arrived = collections.defaultdict(list)
        for topic, lines in self.kafka.read(self.clients).items():
            for text in lines:
                head, checksum = text.rsplit(b" ", 1)
                self.assertEqual(b"%08x" % zlib.crc32(head), checksum, f"no line of a writer's: {text}")
                life, number, _ = head.split(b" ", 2)
                self.assertEqual(writers.clients[writers.lives[int(life)].writer], topic)
                arrived[int(life)].append(int(number))
        for life in writers.lives:
            numbers, written = arrived[life.number], writers.written(life)
            self.assertEqual(numbers, list(range(len(numbers))), f"life {life.number}: a gap, or not in order")
            # Killed between its last write and its note of it.
            least, most = written, written + life.killed
            self.assertTrue(least <= len(numbers) <= most, f"life {life.number}: {len(numbers)} lines, not {least} to {most}")
        picture = self.teld.picture()
        ends = {name: picture.total[name] for name in ["malformed", "failed", "dropped_full", "dropped_too_long"]}
        self.assertEqual((picture.residual(), set(ends.values())), (0, {0}), f"{ends} {picture.inputs}")
        return sum(map(len, arrived.values()))

    def wait_for_all(self, writers):
        """Waits until all that was written is delivered. What was written but not noted is seen when nothing more comes."""
        self.teld.wait_for_delivered(sum(map(writers.written, writers.lives)))
        self.teld.wait_for_picture("no writer is left", lambda now: now.inputs["lines"]["writers"] == 0)
        self.teld.wait_for_delivered(0)

    def test_of_many_writers_killed_at_random_no_line_is_torn_or_joined(self):
        self.start_with(8)
        with Writers(self.fifo, self.clients, pause=0.03) as writers:
            for writer in range(8):
                writers.start(writer)
            rng = random.Random(5)
            for _ in range(300):
                let_pass(rng.random() * 0.04)
                writer = rng.choice(list(writers.now))
                writers.kill(writer)
                writers.start(writer)
            writers.end()
            self.wait_for_all(writers)
            lines = self.check(writers)
        print(f"  300 kills of 8 writers, {lines:,} lines, all whole")

    def test_a_writer_that_is_alone_and_killed_leaves_all_it_wrote(self):
        self.start_with(1)
        with Writers(self.fifo, self.clients, pause=0.002) as writers:
            rng = random.Random(6)
            for _ in range(200):
                # Between two of them the FIFO has no writer.
                writers.start(0)
                let_pass(rng.random() * 0.03)
                writers.kill(0)
            writers.start(0)
            wait_for("the last one writes", lambda: writers.written(writers.now[0]) > 10)
            writers.end()
            self.wait_for_all(writers)
            lines = self.check(writers)
        print(f"  200 kills of a writer alone, {lines:,} lines, all whole")

    def test_writers_killed_while_they_wait_for_room_tear_no_line(self):
        small = {"queue.bytes": MIB, "batches.bytes": MIB}
        self.start_with(8, producer=small)
        with Writers(self.fifo, self.clients, pause=0.02) as writers:
            for _ in range(3):
                with self.kafka.paused():
                    for writer in range(8):
                        if writer not in writers.now:
                            writers.start(writer)
                    self.wait_until_stuck(writers)
                    for writer in range(4):
                        writers.kill(writer)
                        writers.start(writer)
                    for writer in range(4, 8):
                        writers.kill(writer)
            writers.end()
            self.wait_for_all(writers)
            lines = self.check(writers)
        print(f"  24 kills of writers that wait, {lines:,} lines, all whole")

    def wait_until_stuck(self, writers):
        """Until nobody has written for a second."""
        state = [None, 0]

        def stuck():
            written = [writers.written(life) for life in writers.lives]
            if written != state[0]:
                state[:] = [written, time.monotonic()]
            return time.monotonic() - state[1] > 1

        wait_for("the FIFO is full", stuck)

    def test_a_last_line_without_newline_is_a_line_of_its_own(self):
        self.start_with(1)
        client = self.clients[0]

        def lines_and_no_writer(count):
            self.teld.wait_for_picture(
                f"{count} lines, and no writer",
                lambda now: now.inputs["lines"]["lines"] == count and now.inputs["lines"]["writers"] == 0,
            )

        servers.write_once("fifo", self.fifo, f"{client} whole\n{client} left unfinished".encode())
        lines_and_no_writer(2)
        # One that is killed between the two halves of a line.
        pid = os.fork()
        if pid == 0:
            try:
                fifo = os.open(self.fifo, os.O_WRONLY)
                os.write(fifo, f"{client} half of a line, ".encode())
                signal.pause()
            finally:
                os._exit(1)
        self.teld.wait_for_picture("the half has come", lambda now: now.inputs["lines"]["writers"] == 1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        lines_and_no_writer(3)
        servers.write_once("fifo", self.fifo, f"{client} the next writer's first\n".encode())
        lines_and_no_writer(4)
        self.teld.wait_for_delivered(4)
        expected = [b"whole", b"left unfinished", b"half of a line, ", b"the next writer's first"]
        self.assertEqual(self.kafka.read([client])[client], expected)


if __name__ == "__main__":
    unittest.main()
