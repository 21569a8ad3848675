"""teld beside Varnish: varnishncsa as its child, a hundred clients, a real Kafka."""

import collections
import http.client
import re
import signal
import subprocess
import unittest

import servers
from servers import PROGRAMS, Program, Teld, Varnishd, write_once
from waiting import Beside, processes_of, wait_for

CLIENTS = 100
# A line as it is delivered: teld has taken the client off.
LINE = re.compile(rb'127\.0\.0\.1 \[[^]]+\] "GET http://\S+/([a-z_]+\d+)/(\S+) HTTP/1\.1" 200')


class Varnish(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(servers.temporary_folder())
        self.varnishd = self.enterContext(Varnishd(self.folder))
        self.probes = 0

    def request(self, connection, client, what):
        connection.request("GET", f"/{client}/{what}")
        answer = connection.getresponse()
        answer.read()
        self.assertEqual(answer.status, 200)

    def probe_until(self, what, client, seen):
        """A reader of Varnish's log sees what is logged once it reads: there are requests until it does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.varnishd.port, timeout=10)

        def attempt():
            self.request(connection, client, f"probe-{self.probes}")
            self.probes += 1
            return seen()

        wait_for(what, attempt)
        connection.close()

    def test_all_that_varnishncsa_writes_arrives_in_its_client_s_topic(self):
        kafka = servers.kafka()
        topics = kafka.topics("varnish_", CLIENTS)
        inputs = {"cdn": {"type": "exec", "command": self.varnishd.ncsa()}}
        teld = self.enterContext(Teld(self.folder, inputs, clients=topics))
        # What a second reader of the same log finds.
        reference = self.enterContext(Program(self.folder, "reference", self.varnishd.ncsa()))
        self.probe_until("teld's reader reads", "nobody", lambda: teld.picture().total["unknown_client"] > 0)
        self.probe_until("the other reader reads", "nobody", reference.lines)

        subprocess.run(
            ["wrk", "-t2", "-c20", "-d2s", "-s", PROGRAMS / "requests.lua", f"http://127.0.0.1:{self.varnishd.port}/"]
            + ["--", "varnish_", str(CLIENTS)],
            stdout=subprocess.PIPE,
            check=True,
        )
        counts = []

        def counted():
            seen = [line for line in reference.lines() if not line.startswith(b"nobody ")]
            counts[:] = [self.varnishd.requests() - self.probes, len(seen), teld.picture().total["delivered"]]
            return counts[0] == counts[1] == counts[2] and seen

        lines = wait_for(lambda: f"varnishd, the other reader and Kafka have the same number: {counts}", counted)
        self.assertGreater(len(lines), 10_000)
        expected = collections.defaultdict(list)
        for line in lines:
            client, text = line.split(b" ", 1)
            expected[client.decode()].append(text)
        found = kafka.read(topics)
        for topic in topics:
            self.assertEqual(sorted(found[topic]), sorted(expected[topic]), topic)
            self.assertEqual({LINE.fullmatch(text)[1].decode() for text in found[topic]}, {topic})
        # Every request is another one: none came twice in place of another.
        self.assertEqual(len({LINE.fullmatch(text)[2] for texts in found.values() for text in texts}), len(lines))
        picture = teld.picture()
        self.assertEqual((picture.residual(), picture.total["failed"], picture.total["malformed"]), (0, 0, 0))
        self.assertNotIn("verrun", teld.said() + reference.said())
        print(f"  {len(lines):,} requests of {CLIENTS} clients, and as many lines in their topics")

    def test_whatever_ends_in_varnish_teld_goes_on(self):
        kafka = servers.kafka()
        topics = kafka.topics("hardship_", 10)
        # Five readers of two clients each: a hundred kills take a fifth of the time.
        inputs = {
            f"cdn{number}": {
                "type": "exec",
                "command": self.varnishd.ncsa("-q", f'VCL_Log ~ "^client:hardship_[{2 * number}{2 * number + 1}]$"'),
            }
            for number in range(5)
        }
        teld = self.enterContext(Teld(self.folder, inputs, clients=topics))
        load = self.enterContext(Load(self.varnishd.port, "hardship_", 10))

        killed = set()

        def five_at_work():
            # One that has worked for a second is started again after a tenth of one.
            children = [child for child in teld.children() if child not in killed and child.age() > 1.05]
            return children if len(children) == 5 else None

        while len(killed) < 100:
            for child in wait_for("five children at work", five_at_work):
                child.kill()
                killed.add(child)
        picture = teld.wait_for_picture("restarts counted", lambda now: now.input_sum("restarts") >= len(killed))

        self.varnishd.worker().kill()
        load.wait_until_answered()
        # Its exit status tells that a worker had died.
        self.varnishd.end()
        self.varnishd.start()
        load.wait_until_answered()
        # So many lines more than what was on its way before: each reader has found the new log.
        lines = {name: input["lines"] for name, input in teld.picture().inputs.items()}
        teld.wait_for_picture(
            "all readers read again", lambda now: all(now.inputs[name]["lines"] > lines[name] + 100 for name in lines)
        )
        load.end()
        connection = http.client.HTTPConnection("127.0.0.1", self.varnishd.port, timeout=10)
        for client in topics:
            for number in range(100):
                self.request(connection, client, f"after-{number}")
        connection.close()

        def all_after():
            found = kafka.read(topics)
            after = {topic: [text for text in texts if b"/after-" in text] for topic, texts in found.items()}
            return after if all(len(texts) >= 100 for texts in after.values()) else None

        for topic, texts in wait_for("the lines of requests after all that", all_after).items():
            matches = [LINE.fullmatch(text) for text in texts]
            self.assertEqual({match[1].decode() for match in matches}, {topic})
            numbers = sorted(int(match[2].removeprefix(b"after-")) for match in matches)
            self.assertEqual(numbers, list(range(100)), topic)
        wait_for(lambda: f"no zombie is left: {teld.zombies()}", lambda: not teld.zombies(), seconds=5)
        self.assertEqual(len(teld.children()), 5)
        print(f"  {len(killed)} kills, {picture.input_sum('restarts')} restarts, {load.answered:,} requests meanwhile")

        self.assertEqual(teld.end(), 0)
        self.assertEqual(processes_of("varnishncsa", self.varnishd.work), [])

    def test_killed_it_leaves_no_varnishncsa_and_nothing_to_be_done_by_hand(self):
        kafka = servers.kafka()
        topic = kafka.topics("killed_", 1)[0]
        places = {"fifo": self.folder / "fifo", "stream": self.folder / "stream", "datagram": self.folder / "datagram"}
        inputs = {
            "cdn": {"type": "exec", "command": self.varnishd.ncsa()},
            "fifo": {"type": "fifo", "path": places["fifo"]},
            "stream": {"type": "unix", "path": places["stream"]},
            "datagram": {"type": "unix", "path": places["datagram"], "socket": "datagram"},
        }
        teld = Teld(self.folder, inputs, clients=[topic])
        self.addCleanup(teld.end)
        for round in range(3):
            teld.start()
            for kind, path in places.items():
                write_once(kind, path, f"{topic} {kind} {round}\n".encode())
            self.probe_until("a line of Varnish's", topic, lambda: teld.picture().inputs["cdn"]["lines"] > 0)
            teld.wait_for_picture("each input reads", lambda now: all(input["lines"] for input in now.inputs.values()))
            teld.wait_for_delivered(4)
            self.assertEqual(teld.end(signal.SIGKILL), -signal.SIGKILL)
            wait_for("its varnishncsa has ended", lambda: not processes_of("varnishncsa", self.varnishd.work), 10)
        found = kafka.read([topic])[topic]
        written = [f"{kind} {round}".encode() for kind in places for round in range(3)]
        self.assertEqual(sorted(text for text in found if text in written), sorted(written))


class Load(Beside):
    """Requests one after the other, the clients in turn. Those that fail are no matter: servers end meanwhile."""

    def __init__(self, port, prefix, clients):
        self.port, self.prefix, self.clients = port, prefix, clients
        self.answered = 0
        super().__init__()

    def run(self):
        connection = None
        # Some 300 a second: none is lost in a log that holds all of them.
        while not self.over.wait(0.003):
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", f"/{self.prefix}{self.answered % self.clients}/load-{self.answered}")
                connection.getresponse().read()
                self.answered += 1
            except (OSError, http.client.HTTPException):
                connection = None

    def wait_until_answered(self):
        before = self.answered
        # One answer may have been on its way.
        wait_for("requests are answered again", lambda: self.answered > before + 2)


if __name__ == "__main__":
    unittest.main()
