"""The client list, followed from its topic: with the rights of an edge, over everything that can happen to it."""

import itertools
import json
import os
import random
import signal
import subprocess
import time
import unittest
import urllib.error
import urllib.request

import servers
from servers import TELD, Teld, open_fifo
from waiting import free_port, let_pass, wait_for

EDGE = "edge-1"
# Settings of a topic in which a removal is soon compacted away.
FORGETFUL = "segment.ms=500 delete.retention.ms=1 min.cleanable.dirty.ratio=0.001 max.compaction.lag.ms=500"
numbers = itertools.count()


class List:
    """A list's topic and its acknowledgements, written as the control plane does: in transactions, by one writer."""

    def __init__(self, kafka, topic=None, acks=None, settings=""):
        number = next(numbers)
        self.kafka, self.settings = kafka, settings
        self.topic, self.acks = topic or f"list{number}.clients", acks or f"list{number}.acks"
        # All that an edge may do.
        rights = [f"READ topic {self.topic} literal", f"WRITE topic {self.acks} literal", "WRITE topic logs. prefixed"]
        rights = [f"acl edge:{EDGE} {right}" for right in rights]
        kafka.admin(self.command(), f"topic {self.acks} cleanup.policy=compact", *rights)

    def command(self):
        return f"topic {self.topic} cleanup.policy=compact {self.settings}"

    def keys(self):
        return {"edge": EDGE, "topic": self.topic, "acks": self.acks}

    def write(self, records):
        """Records by key, a text or an object each, or None for a removal; all in one transaction."""
        text = lambda value: "" if value is None else value if isinstance(value, str) else json.dumps(value)  # noqa: E731
        lines = "".join(f"{key}\t{text(value)}\n" for key, value in records.items())
        options = ["-X", f"transactional.id=control-{self.topic}", "-X", "linger.ms=5", "-K", "\t", "-Z"]
        command = ["kcat", "-b", self.kafka.servers, "-P", "-t", self.topic, *options]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"kcat: {done.stderr}"

    def add(self, *ids):
        self.write({id: {"id": id, "topic": f"logs.{id}"} for id in ids})

    def remove(self, *ids):
        self.write(dict.fromkeys(ids))

    def accept(self, **marker):
        self.write({"!list": marker})

    def make_anew(self):
        self.kafka.admin(f"delete-topic {self.topic}", self.command())

    def read(self, topic):
        """The records there, keys and values."""
        command = ["kcat", "-b", self.kafka.servers, "-C", "-t", topic, "-e", "-q", "-o", "beginning", "-f", "%k\t%s\n"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"kcat: {done.stderr}"
        return [tuple(line.split("\t", 1)) for line in done.stdout.splitlines()]

    def ack(self, edge=EDGE):
        """The last one."""
        return next((json.loads(text) for key, text in reversed(self.read(self.acks)) if key == edge), None)


class Edge(Teld):
    """teld with the certificate of an edge. Its client list is there if the topic, or a test, has brought it."""

    def __init__(self, folder, followed, inputs=None, name=EDGE, **others):
        properties = followed.kafka.certificate("edge", f"edge:{EDGE}")
        sync = {**followed.keys(), "edge": name}
        super().__init__(folder, inputs or {}, producer={"kafka": properties}, sync=sync, **others)

    def list_clients(self, clients):
        if clients:
            super().list_clients(clients)

    def listed(self):
        content = self.content()
        return None if content is None else [client["id"] for client in content["clients"]]

    def content(self):
        """What is in the list's file, which is whole whenever it is read."""
        return json.loads(self.clients_file.read_text()) if self.clients_file.exists() else None

    def wait_until_listed(self, ids, seconds=30):
        self.wait_until(lambda: f"{sorted(ids)} listed, not {self.listed()}", lambda: self.listed() == sorted(ids), seconds)

    def wait_for_sync(self, what, condition, seconds=30):
        return self.wait_for_picture(what, lambda now: now.sync and condition(now.sync), seconds).sync


class SyncCase(unittest.TestCase):
    def setUp(self):
        self.kafka = servers.kafka()
        self.folder = self.enterContext(servers.temporary_folder())

    def edge(self, followed, inputs=None, **others):
        return self.enterContext(Edge(self.folder, followed, inputs, **others))


class Followed(SyncCase):
    def test_listed_clients_are_delivered_with_an_edge_s_rights_alone(self):
        followed = List(self.kafka, "tel.clients", "tel.acks")
        one, two = (f"{name}{os.getpid()}" for name in ["one", "two"])
        self.kafka.admin(f"topic logs.{one}", f"topic logs.{two}")
        fifo = self.folder / "a.fifo"
        teld = self.edge(followed, {"a": {"type": "fifo", "path": fifo}})
        writer = self.enterContext(open(open_fifo(fifo), "wb", buffering=0))
        teld.wait_until_listed([])
        followed.add(one)
        start = time.monotonic()
        teld.wait_until_listed([one])
        took = time.monotonic() - start
        print(f"  in the file {1000 * took:.0f} ms after the transaction")
        self.assertLess(took, 2)
        teld.wait_for_picture("the list is in force", lambda now: now.total["clients"] == 1)
        writer.write(f"{one} first\n{two} too early\n".encode())
        teld.wait_for_delivered(1)
        followed.write({two: {"id": two, "topic": f"logs.{two}", "later": [1]}, one: None})
        teld.wait_until_listed([two])
        self.assertEqual(teld.content()["clients"], [{"id": two, "topic": f"logs.{two}", "later": [1]}])
        revision = teld.content()["revision"]
        teld.wait_for_picture("the list is in force", lambda now: now.total["clients_revision"] == revision)
        writer.write(f"{one} too late\n{two} second\n".encode())
        teld.wait_for_picture("both", lambda now: now.total["delivered"] == 2 and now.total["unknown_client"] == 2)
        lines = self.kafka.read([f"logs.{one}", f"logs.{two}"])
        self.assertEqual(lines, {f"logs.{one}": [b"first"], f"logs.{two}": [b"second"]})

        volume = {"delivered": 1, "dropped": 0}
        ack = wait_for("volumes", lambda: (ack := followed.ack()) and len(ack["clients"]) == 2 and ack, 30)
        self.assertEqual(ack["clients"], {one: volume, two: volume})
        sync = teld.picture().sync
        self.assertEqual((ack["edge"], ack["topic_id"], ack["rejected"]), (EDGE, sync["topic_id"], []))
        self.assertGreaterEqual(ack["offset"], 3)
        self.assertEqual(ack["version"], "0.1.0")
        self.assertLess(abs(ack["at_ms"] - time.time() * 1000), 30_000)
        self.assertEqual(teld.end(), 0)

    def test_alone_it_writes_the_list_for_others(self):
        followed = List(self.kafka)
        port = free_port()
        teld = self.edge(followed, metrics={"listen": f"127.0.0.1:{port}"})
        teld.wait_until_listed([])
        followed.add("a", "b")
        teld.wait_until_listed(["a", "b"])
        self.assertEqual(teld.clients_file.stat().st_mode & 0o777, 0o644)
        self.assertEqual(os.listdir(self.folder).count("clients.json.new"), 0)

        def get(path):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        wait_for("ready", lambda: get("/readyz")[0] == 200, 10)
        series = dict(line.rsplit(" ", 1) for line in get("/metrics")[1].splitlines() if not line.startswith("#"))
        self.assertEqual([series[f"tel_sync_{name}"] for name in ["up", "clients", "rejected"]], ["1", "2", "0"])
        # Another name, without starting anything else.
        wait_for("acknowledged", lambda: followed.ack())
        teld.others["sync"]["edge"] = "edge-2"
        teld.configure({})
        teld.reload()
        ack = wait_for("acknowledged by the other name", lambda: followed.ack("edge-2"), 30)
        self.assertEqual(ack["clients"], {})
        shown = subprocess.run([TELD, "status", "--config", teld.asking, "--once"], capture_output=True, text=True)
        self.assertRegex(shown.stdout, r"CLIENT LIST +list\d+\.clients\n[^$]*edge +edge-2\nclients +2\n")
        self.assertEqual(teld.end(), 0)

    def test_a_burst_is_gathered_and_revisions_grow(self):
        followed = List(self.kafka)
        teld = self.edge(followed)
        teld.wait_until_listed([])
        seen = []
        for count in range(5):
            followed.add(*[f"c{count}-{number}" for number in range(200)])
            teld.wait_until(f"{count}", lambda: len(teld.listed()) == 200 * (count + 1), 30)
            seen.append(teld.content()["revision"])
        self.assertEqual(seen, sorted(set(seen)))
        self.assertLessEqual(teld.picture().sync["writes"], 25)

    def test_bad_records_are_skipped_and_reported(self):
        followed = List(self.kafka)
        teld = self.edge(followed)
        followed.add("good", "kept")
        teld.wait_until_listed(["good", "kept"])
        bad = {
            "kept": "nonsense",
            "other": {"id": "another", "topic": "logs.another"},
            "a b": {"id": "a b", "topic": "logs.a"},
            "__x": {"id": "__x", "topic": "logs.x"},
            "bare": {"id": "bare"},
            "wrong": {"id": "wrong", "topic": "__consumer_offsets"},
            "!later": "?",
            "!list": "[]",
        }
        followed.write({**bad, "last": {"id": "last", "topic": "logs.last"}})
        rejected = sorted(set(bad) - {"!later"})
        for _ in range(2):
            teld.wait_until_listed(["good", "kept", "last"])
            teld.wait_for_sync("rejected", lambda sync: sync["rejected"] == len(rejected))
            ack = wait_for("acknowledged", lambda: (ack := followed.ack()) and ack["rejected"] and ack)
            self.assertEqual(ack["rejected"], rejected)
            # The same from the beginning: what is kept is in the last good list.
            teld.end()
            teld.start()
        followed.write({key: None for key in bad})
        teld.wait_until_listed(["good", "last"])
        teld.wait_for_sync("mended", lambda sync: sync["rejected"] == 0)


class Refused(SyncCase):
    def refused(self, teld, why):
        sync = teld.wait_for_sync(f"{why}: refused", lambda sync: why in sync["refused"])
        teld.wait_until("it is said", lambda: sync["refused"] in teld.said())
        return sync

    def test_an_emptied_and_a_much_shorter_list_need_a_marker(self):
        followed = List(self.kafka)
        ids = [f"c{number}" for number in range(10)]
        followed.add(*ids)
        teld = self.edge(followed)
        teld.wait_until_listed(ids)
        followed.remove("c0")
        teld.wait_until_listed(ids[1:])
        followed.remove("c1", "c2")
        self.refused(teld, "only 7 clients")
        self.assertEqual(teld.listed(), ids[1:])
        ack = wait_for("told", lambda: (ack := followed.ack()) and ack["refused"] and ack)
        offset = ack["offset"]
        # Not by being started again either, nor by a marker for a longer list.
        teld.end(signal.SIGKILL)
        teld.start()
        self.refused(teld, "only 7 clients")
        followed.accept(accept="shrink", clients=8)
        self.refused(teld, "only 7 clients")
        followed.accept(accept="shrink", clients=7)
        teld.wait_until_listed(ids[3:])
        teld.wait_for_sync("accepted", lambda sync: not sync["refused"] and sync["is_at_end"])
        wait_for("told", lambda: (ack := followed.ack()) and not ack["refused"] and ack["offset"] > offset)
        # The marker is used up.
        followed.remove("c3", "c4", "c5")
        self.refused(teld, "only 4 clients")
        # What comes back is taken again.
        followed.add("c3", "c4", "c5")
        teld.wait_for_sync("as before", lambda sync: not sync["refused"])
        followed.remove(*ids)
        topic_id = self.refused(teld, "no client any more")["topic_id"]
        followed.accept(accept=topic_id)
        teld.wait_until_listed([])

    def test_a_short_list_may_lose_clients(self):
        followed = List(self.kafka)
        followed.add("a", "b", "c", "d")
        teld = self.edge(followed)
        teld.wait_until_listed("abcd")
        followed.remove("b", "c", "d")
        teld.wait_until_listed("a")

    def test_a_topic_made_anew_needs_a_marker_that_names_it(self):
        followed = List(self.kafka)
        followed.add("a", "b", "c")
        teld = self.edge(followed)
        teld.wait_until_listed("abc")
        before = teld.wait_for_sync("its id", lambda sync: sync["topic_id"])["topic_id"]
        revision = teld.content()["revision"]
        followed.make_anew()
        # More records than before: the old place is one in the new topic.
        for id in "abcdefgh":
            followed.add(id)
        after = self.refused(teld, "made anew")["topic_id"]
        self.assertNotEqual(before, after)
        self.assertEqual(teld.listed(), list("abc"))
        followed.accept(accept=before)
        teld.end()
        teld.start()
        self.refused(teld, "made anew")
        followed.accept(accept=after)
        teld.wait_until_listed("abcdefgh")
        self.assertGreater(teld.content()["revision"], revision)
        ack = wait_for("told", lambda: (ack := followed.ack()) and ack["topic_id"] == after and ack)
        self.assertEqual(ack["refused"], "")
        followed.remove("a")
        teld.wait_until_listed("bcdefgh")


class Away(SyncCase):
    def test_without_kafka_the_last_good_list_holds(self):
        followed = List(self.kafka)
        client = f"away{os.getpid()}"
        self.kafka.admin(f"topic logs.{client}")
        followed.add(client)
        fifo = self.folder / "a.fifo"
        teld = self.edge(followed, {"a": {"type": "fifo", "path": fifo}})
        teld.wait_until_listed([client])
        teld.end()
        with self.kafka.stopped():
            teld.start()
            writer = self.enterContext(open(open_fifo(fifo), "wb", buffering=0))
            writer.write(f"{client} while it was away\n".encode())
            picture = teld.wait_for_picture("read", lambda now: now.total["in_flight"] == 1)
            self.assertEqual((picture.total["clients"], picture.sync["is_at_end"]), (1, False))
            teld.wait_for_sync("said", lambda sync: "no broker can be reached" in sync["trouble"])
            # Long enough for attempts of every kind.
            let_pass(12)
            self.assertEqual(teld.said().count("no broker can be reached: "), 1, teld.said())
        teld.wait_for_delivered(1)
        followed.add("later")
        teld.wait_until_listed([client, "later"])
        teld.wait_for_sync("well", lambda sync: not sync["trouble"] and sync["is_at_end"])
        # And a broker that hangs does not keep it from ending.
        with self.kafka.paused():
            start = time.monotonic()
            teld.end()
            self.assertLess(time.monotonic() - start, 13)

    def test_a_topic_that_comes_later_is_found(self):
        followed = List(self.kafka)
        self.kafka.admin(f"delete-topic {followed.topic}")
        teld = self.edge(followed)
        teld.wait_for_sync("trouble", lambda sync: "nknown topic" in sync["trouble"])
        self.kafka.admin(followed.command())
        followed.add("a")
        teld.wait_until_listed("a")

    def test_killed_at_any_moment_it_leaves_a_whole_list_and_goes_on(self):
        followed = List(self.kafka)
        followed.add(*[f"c{number:04}" for number in range(2000)])
        teld = self.edge(followed)
        revision = 0
        for round in range(8):
            new = f"new{round}"
            if round:
                followed.add(new)
            let_pass(random.uniform(0, 0.3))
            teld.end(signal.SIGKILL)
            content = teld.content()
            self.assertGreaterEqual((content or {"revision": 0})["revision"], revision)
            teld.start()
            teld.wait_until(new, lambda: (ids := teld.listed()) and len(ids) == 2000 + round, 30)
            self.assertGreater(teld.content()["revision"], revision)
            revision = teld.content()["revision"]

    def forget(self, followed, id, other):
        """Removes a client, so that nothing is left of it in the topic."""
        followed.remove(id)

        def is_forgotten():
            # Only what lies before the newest segment is cleaned.
            followed.add(other)
            return id not in [key for key, _ in followed.read(followed.topic)]

        wait_for("the removal is compacted away", is_forgotten, 180)

    def test_removals_that_are_compacted_away_are_seen(self):
        followed = List(self.kafka, settings=FORGETFUL)
        ids = [f"c{number}" for number in range(10)]
        followed.add(*ids)
        teld = self.edge(followed)
        teld.wait_until_listed(ids)
        teld.end()
        self.forget(followed, "c3", "c9")
        teld.start()
        teld.wait_until_listed([id for id in ids if id != "c3"])

    def test_after_a_day_without_a_word_removals_are_seen_without_a_restart(self):
        followed = List(self.kafka, settings=FORGETFUL)
        ids = [f"c{number}" for number in range(10)]
        followed.add(*ids)
        clock = servers.Clock(self.folder)
        teld = self.edge(followed, environment=clock.environment)
        teld.wait_until_listed(ids)
        with teld.paused():
            # The fetch that is under way ends, and has nothing of what comes.
            let_pass(2)
            self.forget(followed, "c3", "c9")
        # After less than a day what was there goes on: nobody has told of the removal.
        followed.add("later")
        teld.wait_until_listed([*ids, "later"])
        self.assertNotIn("a day or more", teld.said())
        clock.advance(24 * 3600)
        teld.wait_until_listed([id for id in [*ids, "later"] if id != "c3"])
        self.assertEqual(teld.said().count("a day or more has gone by without it"), 1, teld.said())
        teld.wait_for_sync("well", lambda sync: not sync["trouble"] and sync["is_at_end"])


class Many(SyncCase):
    EDGES, CHANGES = int(os.environ.get("TEL_SYNC_EDGES", "20")), 10

    def test_a_change_is_in_every_edge_s_file_within_two_seconds(self):
        followed = List(self.kafka)
        followed.add("first")
        edges = []
        for number in range(self.EDGES):
            folder = self.folder / f"{number}"
            folder.mkdir()
            edges.append(self.enterContext(Edge(folder, followed, name=f"many-{number}")))
        for edge in edges:
            edge.wait_until_listed(["first"], 120)
        took = []
        for number in range(self.CHANGES):
            # kcat's own start, and its becoming the writer, are part of it.
            start = time.time()
            followed.add(f"more{number}")
            for edge in edges:
                edge.wait_until(f"change {number}", lambda: f"more{number}" in edge.listed(), 30)
                took.append(edge.clients_file.stat().st_mtime - start)
        took.sort()
        p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
        memory = sum(edge.as_process().memory("VmRSS") for edge in edges) / len(edges) / servers.MIB
        print(f"  {self.EDGES} edges: p50 {p50:.2f} s, p99 {p99:.2f} s, maximum {took[-1]:.2f} s; {memory:.0f} MiB each")
        self.assertLess(p99, 2)


class Size(SyncCase):
    CLIENTS = 100_000

    def test_a_hundred_thousand_clients_are_current_in_seconds(self):
        followed = List(self.kafka)
        followed.add(*[f"client{number:06}" for number in range(self.CLIENTS)])
        start = time.monotonic()
        teld = self.edge(followed)
        teld.wait_until("the list", lambda: teld.clients_file.exists(), 60)
        first = time.monotonic() - start
        self.assertEqual(len(teld.listed()), self.CLIENTS)
        revision = teld.content()["revision"]
        start = time.monotonic()
        followed.add("new")
        committed = time.monotonic() - start
        teld.wait_until("the change", lambda: teld.content()["revision"] > revision, 60)
        change = time.monotonic() - start - committed
        memory = teld.as_process().memory("VmHWM") / servers.MIB
        print(f"  {self.CLIENTS:,} clients: listed {first:.1f} s after the start, a change {change:.1f} s, {memory:.0f} MiB")
        self.assertLess(first, 10)
        self.assertLess(change, 5)

    def test_idle_it_hardly_wakes_up(self):
        followed = List(self.kafka)
        followed.add("a")
        teld = self.edge(followed)
        teld.wait_until_listed("a")
        let_pass(2)
        seconds = 10
        before = teld.as_process().threads()
        let_pass(seconds)
        names = {}
        cpu = 0
        for name, on_processor, sleeps in teld.as_process().threads_since(before):
            names[name] = names.get(name, 0) + sleeps / seconds
            cpu += on_processor / 1e9
        own = sum(rate for name, rate in names.items() if name.startswith("teld"))
        print(f"  idle: {own:.1f} wake-ups a second of its own threads, {cpu / seconds:.3%} of a core; all: {names}")
        self.assertLess(own, 3)


if __name__ == "__main__":
    unittest.main()
