"""More lines than Kafka takes: memory stays bounded, writers are not held up, and what is dropped is counted exactly."""

import contextlib
import json
import subprocess
import sys
import unittest

from case import TeldCase, inputs_at
from servers import MIB, PROGRAMS, write_once
from waiting import Beside, wait_for

KINDS = ["fifo", "stream", "datagram"]
# What teld may take beyond queue.bytes and batches.bytes.
BESIDE = 32 * MIB
# A write of a line is not held up for longer than this by an input that drops. teld reads at least every five
# milliseconds: on two cores with nothing else to do the slowest of millions of writes takes some twenty. The rest is for
# a machine that is busy, on which a writer waits for a processor as well.
LONGEST_WRITE_MS = 1000


class Flood(TeldCase):
    def start_all(self, producer=None, **more):
        """An input of each kind, with a client of its own."""
        self.clients = self.topics(len(KINDS))
        self.places = {kind: self.folder / kind for kind in KINDS}
        self.teld = self.start(inputs_at(self.places, **more), self.clients, producer=producer)
        for kind, path in self.places.items():
            write_once(kind, path, b"")

    @contextlib.contextmanager
    def floods(self, *bounds):
        """One writer for each input. Ended when this is left."""
        with contextlib.ExitStack() as stack:
            writers = {}
            for (kind, path), client in zip(self.places.items(), self.clients):
                command = [sys.executable, PROGRAMS / "flood.py", kind, path, client, *bounds]
                writers[kind] = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
                stack.callback(writers[kind].kill)
            yield writers

    def results(self, writers):
        results = {}
        for kind, writer in writers.items():
            out, _ = writer.communicate(timeout=120)
            self.assertEqual(writer.returncode, 0)
            results[kind] = json.loads(out)
            self.assertEqual(results[kind]["refused"], 0)
        return results

    def wait_until_read(self, results):
        """Waits until teld has counted what each writer has written, exactly."""
        picture = self.teld.wait_for_picture(
            f"all lines read of {results}",
            lambda now: all(now.inputs[kind]["lines"] >= results[kind]["written"] for kind in KINDS),
        )
        for kind in KINDS:
            self.assertEqual(picture.inputs[kind]["lines"], results[kind]["written"], kind)
        self.assertEqual(picture.total["submitted"], sum(result["written"] for result in results.values()))

    def flood_a_broker_that_hangs(self, seconds, bound):
        """Floods all inputs; checks memory and the time of the writes. What the writers say."""
        with Peak(self.teld) as peak, self.kafka.paused():
            with self.floods("--seconds", str(seconds)) as writers:
                results = self.results(writers)
            self.wait_until_read(results)
            picture = self.teld.picture()
            for kind in KINDS:
                self.assertGreater(picture.inputs[kind]["dropped_full"], 0, f"{kind} was not flooded")
        highest = self.teld.as_process().memory("VmHWM")
        for kind, result in results.items():
            print(
                f"  {kind}: {result['written']:,} lines in {result['seconds']:.1f} s, "
                f"slowest write {result['slowest_ms']:.1f} ms, {picture.inputs[kind]['dropped_full']:,} dropped"
            )
        print(
            f"  resident at most {highest / MIB:.1f} MiB, {peak.anonymous / MIB:.1f} of it teld's own; "
            f"allowed {(bound + BESIDE) / MIB:.0f}"
        )
        self.assertLessEqual(highest, bound + BESIDE)
        self.assertLessEqual(peak.anonymous, bound + BESIDE)
        for kind, result in results.items():
            self.assertLess(result["slowest_ms"], LONGEST_WRITE_MS, kind)
        return results

    def check_account(self, results):
        """Kafka is back: everything was delivered or dropped, and Kafka has as many lines as teld says."""
        written = sum(result["written"] for result in results.values())
        picture = self.teld.wait_for_picture("nothing under way", lambda now: now.total["in_flight"] == 0)
        total = picture.total
        self.assertEqual(total["submitted"], written)
        self.assertEqual(total["delivered"] + total["dropped_full"], written, total)
        self.assertEqual(picture.input_sum("dropped_full"), total["dropped_full"])
        self.assertEqual(picture.residual(), 0)
        self.assertEqual(self.kafka.count(self.clients), total["delivered"])
        for client, kind in zip(self.clients, KINDS):
            delivered = picture.inputs[kind]["lines"] - picture.inputs[kind]["dropped_full"]
            self.assertEqual(picture.clients[client]["delivered"], delivered, kind)

    def test_memory_stays_bounded_writers_go_on_and_drops_are_exact(self):
        self.start_all(producer={"queue.bytes": 16 * MIB, "batches.bytes": 24 * MIB})
        results = self.flood_a_broker_that_hangs(6, bound=40 * MIB)
        self.check_account(results)

    def test_memory_stays_bounded_with_the_defaults(self):
        self.start_all()
        results = self.flood_a_broker_that_hangs(4, bound=96 * MIB)
        self.check_account(results)

    def test_inputs_that_wait_drop_nothing(self):
        self.start_all(when_full="wait", producer={"queue.bytes": 4 * MIB, "batches.bytes": 8 * MIB})
        with self.floods("--lines", "60000") as writers:
            with self.kafka.paused():
                self.wait_until_stuck()
                self.assertEqual([writer.poll() for writer in writers.values()], [None] * 3, "a writer was not held up")
            results = self.results(writers)
        self.assertEqual([result["written"] for result in results.values()], [60000] * 3)
        self.wait_until_read(results)
        picture = self.teld.wait_for_delivered(180_000)
        self.assertEqual(picture.total["dropped_full"], 0)
        self.check_account(results)
        for client in self.clients:
            self.assert_all_arrived(client, 60_000)
        print(f"  3 x 60,000 lines; held up for {max(result['slowest_ms'] for result in results.values()):,.0f} ms")

    def wait_until_stuck(self):
        """Until nothing has been read for a second, though something was."""

        def stuck():
            before = self.teld.picture().input_sum("lines")
            with contextlib.suppress(AssertionError):
                wait_for("", lambda: self.teld.picture().input_sum("lines") != before, seconds=1)
            return before > 0 and self.teld.picture().input_sum("lines") == before

        wait_for("all inputs wait", stuck)


class Peak(Beside):
    """The most anonymous memory that a process has had, looked at all the time."""

    def __init__(self, teld):
        self.process, self.anonymous = teld.as_process(), 0
        super().__init__()

    def run(self):
        while not self.over.wait(0.02):
            self.anonymous = max(self.anonymous, self.process.memory("RssAnon"))


if __name__ == "__main__":
    unittest.main()
