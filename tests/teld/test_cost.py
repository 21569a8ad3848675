"""What teld takes: memory with many clients, and processor time when there is nothing to do."""

import itertools
import os
import subprocess
import sys
import time
import unittest

import servers
from servers import MIB, Teld, connect, open_fifo
from waiting import Process, let_pass

KNOWN, ACTIVE = 10_000, 1000
LINES_A_SECOND = 20_000
LINE_BYTES = 250
# All is as it is by default, the batching time too, on which it depends how often the worker looks.
LINGER = {"kafka": {"linger.ms": 1000}}
# Wakes up as often as the worker of an idle producer, and does nothing.
SLEEPER = "import time\nwhile True: time.sleep(0.3)"
# Own threads, by the beginnings of their names; the others are librdkafka's.
OWN = ("teld", "tel-", "in-")


class Cost(unittest.TestCase):
    def test_with_ten_thousand_clients_it_takes_less_than_100_mb(self):
        kafka = servers.kafka()
        active = kafka.topics("cost_", ACTIVE)
        others = [f"cost_{number}" for number in range(ACTIVE, KNOWN)]
        folder = self.enterContext(servers.temporary_folder())
        fifo = folder / "a.fifo"
        inputs = {"a": {"type": "fifo", "path": fifo}}
        # A broker that has just started takes its time, and lines wait for it in teld: how much of that there may be is
        # the configuration's word, and test_flood's matter. Here it is to be what a running broker needs.
        teld = Teld(folder, inputs, clients=active + others, producer=LINGER)
        with teld:
            warm = self.write(fifo, active, 6)
            teld.wait_for_delivered(warm)
        self.enterContext(teld)
        seconds = 15
        before = time.process_time()
        written = self.write(fifo, active, seconds)
        own = time.process_time() - before
        picture = teld.wait_for_delivered(written)
        self.assertEqual((picture.total["delivered"], picture.residual()), (written, 0))
        self.assertEqual((picture.total["clients"], kafka.count(active)), (KNOWN, warm + written))
        process = teld.as_process()
        highest, anonymous = process.memory("VmHWM"), process.memory("RssAnon")
        cpu = sum(on_processor for _, on_processor, _ in process.threads().values()) / 1e3
        print(
            f"  {KNOWN:,} clients, {ACTIVE:,} active, {written / seconds:,.0f} lines/s: resident at most {highest / MIB:.1f} "
            f"MiB ({anonymous / MIB:.1f} teld's own now), {cpu / written:.1f} us/line, start included"
        )
        self.assertLess(own, seconds / 2, "the writer itself was too busy to keep time")
        self.assertLess(highest, 100e6)

    def write(self, fifo, clients, seconds):
        """So many lines a second, each client's in turn. Their number."""
        in_a_block = LINES_A_SECOND // 100
        turn = itertools.cycle(clients)
        text = "x" * LINE_BYTES

        def block():
            return "".join(f"{next(turn)} {text}"[: LINE_BYTES - 1] + "\n" for _ in range(in_a_block)).encode()

        blocks = itertools.cycle([block() for _ in range(len(clients) // in_a_block)])
        written = 0
        with open(open_fifo(fifo), "wb", buffering=0) as writer:
            start = time.monotonic()
            while (now := time.monotonic() - start) < seconds:
                due = start + written / LINES_A_SECOND - time.monotonic()
                if due > 0:
                    let_pass(due)
                writer.write(next(blocks))
                written += in_a_block
        self.assertLess(now, seconds + 1)
        self.assertGreater(written, 0.98 * seconds * LINES_A_SECOND, "it did not take so many lines a second")
        return written

    def test_idle_it_hardly_wakes_up(self):
        kafka = servers.kafka()
        topics = kafka.topics("idle_", 10)
        folder = self.enterContext(servers.temporary_folder())
        places = {kind: folder / kind for kind in ["fifo", "stream", "datagram"]}
        inputs = {
            "fifo": {"type": "fifo", "path": places["fifo"]},
            "stream": {"type": "unix", "path": places["stream"]},
            "datagram": {"type": "unix", "path": places["datagram"], "socket": "datagram"},
            "run": {"type": "exec", "command": ["sleep", "1000"]},
        }
        known = [f"idle_{number}" for number in range(KNOWN)]
        teld = self.enterContext(Teld(folder, inputs, clients=known, producer=LINGER))
        # A writer of each kind stays, as servers do.
        fifo = self.enterContext(open(open_fifo(places["fifo"]), "wb", buffering=0))
        stream = self.enterContext(connect(places["stream"]))
        datagram = self.enterContext(connect(places["datagram"], servers.socket.SOCK_DGRAM))
        for topic in topics:
            line = f"{topic} a line\n".encode()
            fifo.write(line)
            stream.sendall(line)
            datagram.send(line)
        teld.wait_for_delivered(30)

        sleeper = subprocess.Popen([sys.executable, "-S", "-c", SLEEPER])
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        bare = Process(sleeper.pid)
        process = teld.as_process()
        # The worker looks less and less often when nothing comes.
        teld.wait_until("it has come to rest", lambda: self.wakes(process, 1)[0] < 50)
        seconds = 12
        before = bare.threads()
        wakes, cpu, own_cpu, by_name = self.wakes(process, seconds)
        # What a machine takes for a wake-up alone is between 10 and 400 us: a processor that was idle finds nothing in its
        # caches, and a virtual one is itself to be woken.
        slept = bare.threads_since(before)
        a_wake = sum(on_processor for _, on_processor, _ in slept) / sum(sleeps for _, _, sleeps in slept) / 1e9
        alone = a_wake * sum(by_name.values()) / seconds
        others = os.linesep.join(f"    {name}: {count / seconds:.1f} a second" for name, count in sorted(by_name.items()))
        print(
            f"  idle, {len(inputs)} inputs: {wakes / seconds:.1f} wake-ups a second of its own threads, "
            f"{cpu / seconds:.3%} of a core, {own_cpu / seconds:.3%} by its own threads; a process that does nothing "
            f"would take {alone:.3%} to wake up as often\n{others}"
        )
        self.assertLess(wakes / seconds, 20)
        # Where the wake-ups alone take more than that, no more than theirs.
        self.assertLess(cpu / seconds, max(0.002, alone))

    def wakes(self, process, seconds):
        """Over the time: wake-ups of own threads, processor seconds of all and of own threads, and wake-ups by name."""
        before = process.threads()
        let_pass(seconds)
        wakes = cpu = own_cpu = 0
        by_name = {}
        for name, on_processor, sleeps in process.threads_since(before):
            is_own = name.startswith(OWN)
            cpu += on_processor
            own_cpu += is_own * on_processor
            wakes += is_own * sleeps
            by_name[name] = by_name.get(name, 0) + sleeps
        return wakes, cpu / 1e9, own_cpu / 1e9, by_name


if __name__ == "__main__":
    unittest.main()
