"""Loads, discards, restarts and ends of varnishd: nothing is lost, left behind or started where it has no business."""

import itertools
import json
import os
import signal
import socket
import subprocess
import threading
import time
import unittest
from pathlib import Path

import servers

VCL = """
vcl 4.1;
import tel from "%(vmod)s";
backend default none;
sub vcl_init { new a = tel.access_log("%(config)s", {"%(tag)s %%m %%U %%{X}i"}); }
sub vcl_recv { a.log("%(client)s"); return (synth(200)); }
"""
EMPTY = "vcl 4.1; backend default none; sub vcl_recv { return (synth(200)); }"


def vcl(config, client="c83", tag="x"):
    return VCL % {"vmod": servers.VMOD, "config": config, "client": client, "tag": tag}


# Far beyond what a request takes here, and far below what anything waits for Kafka. With the address sanitizer all is slower.
SANITIZED = "TEL_PRELOAD" in os.environ
WAITED = 5 if SANITIZED else 1


class Load:
    """Requests from some connections until it is stopped; each must be answered with 200, and is timed."""

    def __init__(self, port, connections=4, pause=0.002):
        self.port, self.pause = port, pause
        self.answered = itertools.count()
        self.failures = []
        self.slowest = 0.0
        self.ending = False
        self.threads = [threading.Thread(target=self.run) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def run(self):
        with socket.create_connection(("127.0.0.1", self.port), 30) as s, s.makefile("rb") as answers:
            while not self.ending:
                began = time.monotonic()
                s.sendall(b"GET /load HTTP/1.1\r\nHost: h\r\n\r\n")
                status = answers.readline()
                length = 0
                while (line := answers.readline()).strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answers.read(length)
                self.slowest = max(self.slowest, time.monotonic() - began)
                if b" 200 " not in status:
                    self.failures.append(status)
                    return
                next(self.answered)
                time.sleep(self.pause)

    def stop(self):
        self.ending = True
        for thread in self.threads:
            thread.join()
        return next(self.answered)


class Process:
    """What a process holds."""

    def __init__(self, pid):
        self.pid = pid

    def threads(self):
        """Those of libtel and of the module; varnishd's pools come and go as they like."""
        names = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                names.append((task / "comm").read_text().strip())
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has just ended
        return sorted(name for name in names if not name.startswith("cache-") or name == "cache-main")

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self):
        """Private and shared-dirty kilobytes, without the log's and the counters' files."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0])


class Lifecycle(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = servers.Kafka()
        cls.addClassCleanup(cls.kafka.stop)
        cls.topics = itertools.count(1)

    def setUp(self):
        self.home = servers.folder("conf")
        self.topic = f"life{next(self.topics)}"
        self.kafka.topics(self.topic)
        servers.write(self.home / "clients.json", json.dumps({"clients": [{"id": "c83", "topic": self.topic}]}))
        self.config = self.configure()

    def configure(self, name="tel.json", linger=200, bootstrap=None, **more):
        return servers.write(self.home / name, json.dumps({
            "kafka": {"bootstrap.servers": bootstrap or self.kafka.bootstrap, "linger.ms": linger, "broker.address.family": "v4"},
            "clients.file": str(self.home / "clients.json"), **more}))

    def start(self, text, **more):
        varnish = servers.Varnish(text, **more)
        self.addCleanup(varnish.stop)
        return varnish

    def test_loads_and_discards_under_load(self):
        varnish = self.start(vcl(self.config))
        process = Process(varnish.child())
        load = Load(varnish.port)
        # varnishd itself settles in the first few.
        loads, settled = int(os.environ.get("TEL_VARNISH_LOADS", "50")), 10
        for n in range(settled + loads):
            varnish.load(f"v{n}", vcl(self.config, tag=f"v{n}"))
            varnish.cli("vcl.use", f"v{n}")
            varnish.cli("vcl.discard", f"v{n - 1}" if n else "boot")
            if n + 1 == settled:
                before = process.threads(), process.files(), process.memory()
        servers.wait_for(lambda: process.threads() == before[0] and process.files() <= before[1] + 2, "threads and files as before")
        after = process.threads(), process.files(), process.memory()
        answered = load.stop()
        self.assertEqual(load.failures, [])
        print(f"{loads} loads and discards, {answered} requests: {before[1]} to {after[1]} files, {before[2]} to {after[2]} kB, "
              f"{len(before[0])} to {len(after[0])} threads of libtel and varnishd's own")
        self.assertLess(load.slowest, WAITED)
        self.no_growth(before[2], after[2])
        servers.wait_for(lambda: varnish.counters()["TEL.tel.delivered"] == answered, f"{answered} lines delivered")
        self.assertEqual(varnish.counters()["TEL.tel.log_lines"], answered)
        self.assertEqual(self.kafka.end(self.topic), answered)

    def test_last_vcl_gone_is_producer_gone(self):
        # Idle workers keep the VCL of their last request otherwise.
        varnish = self.start(EMPTY, parameters=["debug=+vclrel"])
        process = Process(varnish.child())
        varnish.get()
        sent = 0
        for n in range(6):
            varnish.load(f"v{n}", vcl(self.configure(linger=5000)))
            varnish.cli("vcl.use", f"v{n}")
            for _ in range(5):
                varnish.get()
                sent += 1
            varnish.cli("vcl.use", "boot")
            start = time.monotonic()
            varnish.cli("vcl.discard", f"v{n}")
            self.assertLess(time.monotonic() - start, 4)
            servers.wait_for(lambda: self.kafka_threads(process) == [], "libtel's threads are gone")
            if n == 2:
                before = process.files(), process.memory()
        self.assertEqual(self.kafka.end(self.topic), sent)
        self.assertEqual(varnish.counters(), {})
        servers.wait_for(lambda: process.files() <= before[0] + 1, "files as before")
        print(f"producers made and freed: {before[0]} to {process.files()} files, {before[1]} to {process.memory()} kB")
        self.no_growth(before[1], process.memory())

    def no_growth(self, before, after):
        """Of kilobytes; the sanitizer keeps what has been freed."""
        if not SANITIZED:
            self.assertLess(after - before, 1024)

    @staticmethod
    def kafka_threads(process):
        return [name for name in process.threads() if name.startswith(("tel", "rdk"))]

    def test_discard_does_not_wait_for_kafka(self):
        varnish = self.start(EMPTY, parameters=["debug=+vclrel"])
        config = self.configure(bootstrap="127.0.0.1:1")
        varnish.load("down", vcl(config))
        varnish.cli("vcl.use", "down")
        varnish.get()
        varnish.cli("vcl.use", "boot")
        start = time.monotonic()
        varnish.cli("vcl.discard", "down")
        self.assertLess(time.monotonic() - start, 4)
        # The worker's end does not wait for the half minute that the lines still have.
        start = time.monotonic()
        varnish.cli("stop")
        self.assertLess(time.monotonic() - start, 8)

    def test_end_of_the_worker_flushes(self):
        varnish = self.start(vcl(self.configure(linger=60000)))
        for _ in range(50):
            varnish.get()
        self.assertEqual(self.kafka.end(self.topic), 0)
        varnish.cli("stop")
        self.assertEqual(self.kafka.end(self.topic), 50)
        # And again, with the manager's own end.
        varnish.cli("start")
        servers.wait_for(varnish.answers, "varnishd answers")
        for _ in range(50):
            varnish.get()
        varnish.process.send_signal(signal.SIGTERM)
        varnish.process.wait(30)
        self.assertEqual(self.kafka.end(self.topic), 100)

    def test_restarted_worker_goes_on(self):
        varnish = self.start(vcl(self.config))
        varnish.get()
        servers.wait_for(lambda: varnish.counters().get("TEL.tel.delivered") == 1, "a line delivered")
        killed = varnish.child()
        os.kill(killed, signal.SIGKILL)
        servers.wait_for(lambda: varnish.child() not in (0, killed) and "running" in varnish.cli("status"), "a new worker")
        varnish.get()
        servers.wait_for(lambda: self.kafka.end(self.topic) == 2, "the line after the restart delivered")

    def test_a_worker_starts_whatever_has_become_of_the_configuration(self):
        """Killed with the file gone, then with one that is wrong: requests are answered, and lines delivered once it is right."""
        varnish = self.start(vcl(self.config))
        right = self.config.read_text()
        delivered = 0

        def restart(said):
            killed = varnish.child()
            os.kill(killed, signal.SIGKILL)
            servers.wait_for(lambda: varnish.child() not in (0, killed) and "running" in varnish.cli("status"), "a new worker")
            self.assertIn(b" 200 ", varnish.get())
            servers.wait_for(lambda: varnish.counters().get("TEL.tel.unavailable") == 1, "a line without a producer counted")
            self.assertIn(said, varnish.said())
            # What an operator loads meanwhile is refused by name, as ever.
            self.assertIn("tel.json", varnish.load(f"refused{delivered}", vcl(self.config), check=False))

        for spoil, said in ((self.config.unlink, f"tel: {self.config}: No such file or directory: lines are dropped until"),
                            (lambda: servers.write(self.config, right.replace("linger.ms", "lingers.ms")), "lingers.ms")):
            spoil()
            restart(said)
            servers.write(self.config, right)
            servers.wait_for(lambda: "lines are delivered" in varnish.said().split(said)[-1], "the configuration is read again")
            self.assertIn(b" 200 ", varnish.get())
            delivered += 1
            servers.wait_for(lambda: self.kafka.end(self.topic) == delivered, "the line after that delivered")
            # Those loaded from then on share the producer.
            varnish.load(f"shares{delivered}", vcl(self.config))
            self.assertEqual({name.rsplit(".", 1)[0] for name in varnish.counters()}, {"TEL.tel"})

    def test_the_first_worker_starts_without_a_configuration(self):
        right = self.config.read_text()
        self.config.unlink()
        varnish = self.start(vcl(self.config))
        self.assertIn(b" 200 ", varnish.get())
        self.assertIn("No such file or directory: lines are dropped", varnish.said())
        # With what a load brings, all VCLs of that file have it.
        servers.write(self.config, right)
        varnish.load("later", vcl(self.config))
        self.assertIn(b" 200 ", varnish.get())
        servers.wait_for(lambda: self.kafka.end(self.topic) == 1, "the line after that delivered")

    def test_compile_only_starts_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(1)
            config = self.configure(bootstrap="127.0.0.1:%d" % listener.getsockname()[1])
            text = servers.write(self.home / "c.vcl", vcl(config))

            def compile_only(text):
                done = subprocess.run(["varnishd", "-C", "-n", str(self.home / "work"), "-f", str(text)], capture_output=True, timeout=60,
                                      env=servers.environment())
                self.assertEqual(done.returncode, 0, done.stderr)

            compile_only(text)
            with self.assertRaises(TimeoutError):
                listener.accept()
            # Nor does it look at the file.
            servers.write(text, vcl("/nonexistent.json"))
            compile_only(text)

    def test_never_in_the_way(self):
        # Nobody answers behind the one port, nobody listens at the other.
        with socket.create_server(("127.0.0.1", 0)) as silent:
            for bootstrap in ("127.0.0.1:%d" % silent.getsockname()[1], "127.0.0.1:1"):
                config = self.configure(f"{bootstrap[-4:]}.json", bootstrap=bootstrap, **{"queue.bytes": 65536, "batches.bytes": 1048576})
                varnish = self.start(vcl(config))
                name = f"TEL.{bootstrap[-4:]}."
                load = Load(varnish.port, pause=0)
                servers.wait_for(lambda: varnish.counters()[name + "log_refused"] > 100, "the queue is full", 60)
                answered = load.stop()
                self.assertEqual(load.failures, [])
                self.assertLess(load.slowest, WAITED)
                servers.wait_for(lambda: varnish.access_lines(name) == answered, f"{answered} lines counted")
                print(f"{bootstrap}: {answered} requests, the slowest {load.slowest * 1000:.0f} ms")
                varnish.cli("stop")

    def test_client_cannot_be_forged(self):
        attacker, victim = self.topic + ".attacker", self.topic + ".victim"
        self.kafka.topics(attacker, victim)
        servers.write_clients(self.home / "clients.json", [attacker, victim])
        varnish = self.start("""
            vcl 4.1;
            import tel from "%s";
            import std;
            backend default none;
            sub vcl_init {
                new a = tel.access_log("%s", "%%U%%q %%{X}i %%u %%m %%{VCL_Log:client}x\\\\n%s forged");
                new p = tel.producer("%s");
            }
            sub vcl_recv {
                a.log("%s");
                std.log("client:" + req.http.X);
                p.submit_for("%s", req.url + req.http.X);
                return (synth(200));
            }
            """ % (servers.VMOD, self.config, victim, self.config, attacker, attacker))
        hostile = [victim, f"{victim} GET / 200", f"\\n{victim} x", f"%0a{victim}%20x", f"\t{victim}\t", f'"\\n{victim} "', f"\x85{victim}\xa0x"]
        for text in hostile:
            self.assertIn(b"200", varnish.get(f"/{text}?{text}".replace(" ", "+").replace("\t", ""), f"X: {text}\r\nAuthorization: Basic {text}\r\n"))
        # Raw line ends are other headers to varnishd, or no request at all.
        varnish.get("/", f"X: a\r\n{victim}: b\r\n")
        varnish.get("/", f"X: a\n{victim} b: c\r\n")
        varnish.get(f"/a\n{victim} x")
        servers.wait_for(lambda: varnish.counters()["TEL.tel.in_flight"] == 0 and varnish.counters()["TEL.tel.delivered"] > 14, "all delivered")
        values = self.kafka.read(attacker)
        self.assertGreaterEqual(len(values), 2 * len(hostile))
        self.assertEqual(len(values), varnish.counters()["TEL.tel.submitted"])
        self.assertEqual(self.kafka.end(victim), 0)

    def test_a_newline_at_the_end_arrives_as_those_within(self):
        varnish = self.start("""
            vcl 4.1;
            import tel from "%s";
            backend default none;
            sub vcl_init { new a = tel.access_log("%s", {"%%m\\n%%s\\n"}); }
            sub vcl_recv { a.log("c83"); return (synth(200)); }
            """ % (servers.VMOD, self.config))
        varnish.get("/")
        servers.wait_for(lambda: varnish.counters()["TEL.tel.delivered"] == 1, "delivered")
        self.assertEqual(self.kafka.read(self.topic), [b"GET\\n200\\n"])

    def test_as_many_headers_as_a_request_may_have(self):
        headers = "".join(f"X-{n:02}: {'h' * 300}\r\n" for n in range(56)) + f"X-Forwarded-For: {'f' * 300}\r\n"
        for buffer, counter in (("16k", "log_lost_records"), ("64k", "log_lines")):
            varnish = self.start(vcl(self.config, tag=buffer), parameters=[f"vsl_buffer={buffer}"])
            self.assertIn(b"200", varnish.get(f"/{'p' * 1500}", headers))
            servers.wait_for(lambda: varnish.counters()[f"TEL.tel.{counter}"] == 1, f"{counter} with a buffer of {buffer}")
            varnish.cli("stop")
        self.assertEqual([line[:10] for line in self.kafka.read(self.topic)], [b"64k GET /p"])

    def test_file_that_the_worker_may_not_read(self):
        self.assertEqual(os.geteuid(), 0, "varnishd changes its user only as root: run the tests as root")
        varnish = self.start(EMPTY)
        self.config.chmod(0o600)
        said = varnish.load("secret", vcl(self.config), check=False)
        self.assertIn("tel.json: Permission denied", said)


if __name__ == "__main__":
    unittest.main()
