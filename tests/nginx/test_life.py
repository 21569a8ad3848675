"""Workers come and go: reload, binary upgrade, crash, brokers that are not there."""

import collections
import http.client
import os
import pathlib
import re
import signal
import socket
import threading
import time
import unittest

from support import Kafka, Nginx, wait_for

HTTP = """
    log_format id '$request_id $pid';
    keepalive_requests 50; keepalive_timeout 2s;
    tel_producer edge config=edge.json;
    server {
        listen 127.0.0.1:@PORT@;
        location / { access_log @FOLDER@/access.log id; tel_log edge id client=@CLIENT@; return 200 ok; }
        location /tel { tel_status; access_log off; }
        location /cached { access_log off; proxy_cache one; proxy_pass http://127.0.0.1:1; }
    }
    proxy_cache_path @FOLDER@/cache keys_zone=one:1m;
"""


# Far beyond what a request takes here, and far below what anything waits for Kafka.
WAITED = 1 * float(os.environ.get("TEL_TEST_PATIENCE", "1"))


class Load:
    """Requests without a pause from a few threads; a connection that is closed between two requests is no failure."""

    def __init__(self, nginx, threads=3, pause=0.001):
        self.nginx, self.pause, self.failed, self.done, self.slowest = nginx, pause, [], 0, 0.0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self):
        connection = None
        while not self.over.is_set():
            began = time.monotonic()
            fresh = connection is None
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=30)
                connection.request("GET", "/x")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failed.append(answer.status)
                if answer.getheader("Connection") == "close":
                    connection.close()
                    connection = None
                self.done += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                connection = None
                if fresh:
                    self.failed.append(error)
            time.sleep(self.pause)
        if connection:
            connection.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join()


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid):
    """0 if the process has ended."""
    try:
        return len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def resident_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def anonymous_kb(pid):
    return int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))


def is_asleep(pid):
    return re.search(r"State:\s+S", pathlib.Path(f"/proc/{pid}/status").read_text()) is not None


def connections(pid, port):
    """TCP connections of the process to a port of this machine."""
    inodes = {os.readlink(entry) for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    rows = [line.split() for line in pathlib.Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return len([row for row in rows if int(row[2].split(":")[1], 16) == port and f"socket:[{row[9]}]" in inodes])


class Life(unittest.TestCase):
    def nginx(self, client, config=None, workers=2, **more):
        kafka = config or {"bootstrap.servers": Kafka.shared().servers, "linger.ms": 100, "broker.address.family": "v4"}
        return Nginx(HTTP.replace("@CLIENT@", client), clients=[client], workers=workers,
                     producers={"edge": {"kafka": kafka}}, **more)

    def same(self, nginx, topic):
        """What access_log has, Kafka has: every line, once."""
        own = collections.Counter((nginx.folder / "access.log").read_bytes().splitlines())
        there = collections.Counter(Kafka.shared().read(topic))
        self.assertEqual(there - own, collections.Counter(), "more than was logged")
        lost = own - there
        self.assertEqual(len(lost), 0, f"{len(lost)} of {len(own)} lines lost")
        return len(own)

    def test_reloads_under_load(self):
        rounds = int(os.environ.get("TEL_NGINX_RELOADS", "50"))
        Kafka.shared().topics(["reload"])
        with self.nginx("reload") as nginx:
            master = nginx.pid
            seen = []
            with Load(nginx) as load:
                for number in range(rounds):
                    before = set(nginx.worker_pids())
                    os.kill(nginx.pid, signal.SIGHUP)
                    wait_for("new workers", lambda: len([p for p in nginx.worker_pids() if p not in before]) >= 3)
                    if number % 10 == 9:
                        wait_for("old workers end", lambda: not before & set(nginx.worker_pids()))
                        # It closes a worker's channel when it has waited for it, then waits for signals.
                        wait_for("the master sleeps", lambda: is_asleep(master))
                        seen.append((descriptors(master), threads(master), resident_kb(master)))
                        pids = [p for p in nginx.worker_pids() if threads(p) > 1]
                        wait_for("two workers", lambda: len([p for p in nginx.worker_pids() if threads(p) > 1]) == 2)
                        seen[-1] += (max(descriptors(p) for p in nginx.worker_pids()),)
            self.assertEqual(load.failed, [])
            # The counters of all workers there ever were add up to what was logged.
            nginx.settled(len((nginx.folder / "access.log").read_bytes().splitlines()))
            nginx.stop()
            lines = self.same(nginx, "reload")
            print(f"life: {rounds} reloads, {load.done} requests, {lines} lines; master's descriptors, threads, kB and a "
                  f"worker's descriptors: {seen}", flush=True)
            self.assertEqual({s[0] for s in seen}, {seen[0][0]})
            self.assertEqual({s[1] for s in seen}, {1})
            self.assertLess(seen[-1][2] - seen[0][2], 1024 if not os.environ.get("TEL_NGINX_PRELOAD") else 1 << 20)
            self.assertLessEqual(seen[-1][3], seen[0][3] + 8)  # connections come and go

    def test_binary_upgrade_under_load(self):
        Kafka.shared().topics(["upgrade"])
        with self.nginx("upgrade", daemon=True) as nginx:
            old = nginx.pid
            with Load(nginx) as load:
                wait_for("requests", lambda: load.done > 200)
                os.kill(old, signal.SIGUSR2)
                new = wait_for("the new master", lambda: (lambda pid: pid if pid not in (0, old) else 0)(nginx.pid_of_file()))
                wait_for("its workers", lambda: len(nginx.worker_pids(new)) >= 2)
                done = load.done
                wait_for("requests to both", lambda: load.done > done + 200)
                os.kill(old, signal.SIGQUIT)
                wait_for("the old one ends", lambda: not nginx.is_alive(old))
                nginx.pid, done = new, load.done
                wait_for("requests to the new one", lambda: load.done > done + 200)
            self.assertEqual(load.failed, [])
            nginx.stop()
            print(f"life: upgrade: {self.same(nginx, 'upgrade')} lines", flush=True)

    def test_a_killed_worker_is_replaced(self):
        Kafka.shared().topics(["killed"])
        with self.nginx("killed") as nginx:
            for _ in range(20):
                nginx.get("/x")
            # What all workers have published, which is what is left of those that are killed.
            nginx.settled(20)
            for pid in [p for p in nginx.worker_pids() if threads(p) > 1]:
                os.kill(pid, signal.SIGKILL)
                wait_for("another worker", lambda: pid not in nginx.worker_pids()
                         and len([p for p in nginx.worker_pids() if threads(p) > 1]) == 2)
            for _ in range(20):
                nginx.get("/x")
            total = wait_for("delivered", lambda: nginx.total()["delivered"] == 40 and nginx.total())
            self.assertEqual(total["submitted"], 40)
            self.assertEqual(nginx.status()["producers"]["edge"]["workers"], 2)
            self.assertEqual(self.same(nginx, "killed"), 40)

    def test_terminate_delivers_what_was_logged(self):
        Kafka.shared().topics(["term"])
        nginx = self.nginx("term")
        with nginx:
            with Load(nginx) as load:
                wait_for("requests", lambda: load.done > 200)
            self.assertEqual(load.failed, [])
            self.assertLess(nginx.stop(signal.SIGTERM), 3)
            self.same(nginx, "term")
            self.assertNotIn("signal 9", nginx.errors())

    def test_a_broker_that_is_not_there(self):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            self.no_delivery("127.0.0.1:%d" % nobody.getsockname()[1])

    def test_a_broker_that_is_silent(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            self.no_delivery("127.0.0.1:%d" % silent.getsockname()[1])

    def no_delivery(self, servers):
        """Requests are answered as ever, it is said, and the end is in time."""
        with self.nginx("down", config={"bootstrap.servers": servers}) as nginx:
            with Load(nginx) as load:
                wait_for("it is said", lambda: re.search(r'tel_producer "edge": .*' + servers, nginx.errors()))
                wait_for("requests", lambda: load.done > 500)
            self.assertEqual(load.failed, [])
            self.assertLess(load.slowest, WAITED)
            total = wait_for("counted", lambda: (lambda t: t["in_flight"] >= 500 and t)(nginx.total()))
            self.assertEqual(total["delivered"], 0)
            wait_for("the status tells of it", lambda: nginx.status()["producers"]["edge"]["worker"]["kafka_trouble"])
            took = nginx.stop(signal.SIGTERM)
            self.assertLess(took, 5)
            self.assertIn("gave lines up at exit", nginx.errors())
            self.assertNotIn("signal 9", nginx.errors())

    def test_many_producers_end_in_time(self):
        """The brokers of six take connections and say nothing; a seventh's is there, and has what was logged for it."""
        Kafka.shared().topics(["seventh"])
        names = [f"silent{i}" for i in range(6)]
        # The one that can deliver is the last in turn.
        http = ("".join(f"tel_producer {name} config={name}.json;" for name in names) + HTTP.replace("@CLIENT@", "seventh").replace(
            "tel_log edge", "".join(f"tel_log {name} id client=seventh; " for name in names) + "tel_log edge"))
        with socket.create_server(("127.0.0.1", 0)) as silent:
            producers = dict.fromkeys(names, {"kafka": {"bootstrap.servers": "127.0.0.1:%d" % silent.getsockname()[1]}})
            producers["edge"] = {"kafka": {"bootstrap.servers": Kafka.shared().servers, "linger.ms": 2000,
                                           "broker.address.family": "v4"}}
            with Nginx(http, clients=["seventh"], workers=2, producers=producers) as nginx:
                for _ in range(20):
                    nginx.get("/x")
                nginx.settled(20)
                for _ in range(20):
                    nginx.get("/x")
                nginx.stop(signal.SIGTERM)
                self.assertNotIn("signal 9", nginx.errors())
                for name in names:
                    self.assertIn(f'tel_producer "{name}" gave lines up at exit', nginx.errors())
                self.assertNotIn('tel_producer "edge" gave lines up', nginx.errors())
                self.assertEqual(self.same(nginx, "seventh"), 40)

    def test_a_worker_that_waits_for_kafka_can_be_told_to_end(self):
        with self.nginx("waits", config={"bootstrap.servers": "127.0.0.1:1"}) as nginx:
            for _ in range(10):
                nginx.get("/x")
            os.kill(nginx.pid, signal.SIGQUIT)
            wait_for("workers wait", lambda: "gracefully shutting down" in nginx.errors())
            time.sleep(1.5)
            self.assertTrue(nginx.is_alive(nginx.pid))
            self.assertLess(nginx.stop(signal.SIGTERM), 1.5)
            self.assertIn("gave lines up at exit", nginx.errors())
            self.assertNotIn("signal 9", nginx.errors())

    def test_a_queue_that_is_full(self):
        with self.nginx("full", config={"bootstrap.servers": "127.0.0.1:1"}, workers=1) as nginx:
            nginx.producer("edge", {"kafka": {"bootstrap.servers": "127.0.0.1:1"}, "queue.bytes": 65536,
                                    "batches.bytes": 1 << 20, "queue.max_line_bytes": 4096})
            os.kill(nginx.pid, signal.SIGHUP)
            wait_for("the new worker", lambda: "gracefully shutting down" in nginx.errors())
            with Load(nginx) as load:
                wait_for("it is full", lambda: nginx.total()["dropped_full"] > 100)
            self.assertEqual(load.failed, [])
            self.assertLess(load.slowest, WAITED)
            nginx.stop(signal.SIGTERM)

    def test_a_producer_that_cannot_be_made(self):
        """A TLS file that goes away between nginx -t and the worker's start: requests are served, lines counted."""
        with self.nginx("unmade", workers=1) as nginx:
            ca = nginx.folder / "ca.pem"
            ca.write_text("")
            nginx.producer("edge", {"kafka": {"bootstrap.servers": "127.0.0.1:1", "security.protocol": "ssl",
                                              "ssl.ca.location": str(ca)}, "exit_timeout_ms": 100})
            os.kill(nginx.pid, signal.SIGHUP)
            wait_for("the new worker", lambda: "gracefully shutting down" in nginx.errors())
            ca.unlink()
            wait_for("the old worker ends", lambda: len([p for p in nginx.worker_pids() if threads(p) > 1]) == 1)
            os.kill([p for p in nginx.worker_pids() if threads(p) > 1][0], signal.SIGKILL)
            wait_for("it is said", lambda: 'tel_producer "edge" cannot be started' in nginx.errors())
            for _ in range(5):
                self.assertEqual(nginx.get("/x"), b"ok")
            status = nginx.status()["producers"]["edge"]
            self.assertEqual(status["unavailable"], 5)
            self.assertIsNone(status["worker"])
            self.assertEqual(status["total"]["submitted"], 0)

    def test_new_names_at_each_reload(self):
        """The counters' memory holds twenty names: those of configurations that have gone make room."""
        def http(name):
            return (f"tel_producer {name} config=edge.json; server {{ listen 127.0.0.1:@PORT@; access_log off;"
                    f" location / {{ tel_log {name} combined client=names; return 200 ok; }}"
                    f" location /tel {{ tel_status; }} }}")
        with Nginx(http("first"), clients=["names"], producers={"edge": {"embedded_broker": True}}) as nginx:
            for number in range(30):
                before = set(nginx.worker_pids())
                nginx.write_conf(http(f"name{number}"))
                os.kill(nginx.pid, signal.SIGHUP)
                wait_for("the new worker alone", lambda: (lambda now: now and not before & now)(set(nginx.worker_pids())))
                nginx.get("/x")
                nginx.settled(1, f"name{number}")
            self.assertEqual(list(nginx.status()["producers"]), ["name29"])
            self.assertNotIn("too many tel_producers", nginx.errors())

    def test_more_producers_than_are_counted(self):
        """They are said, and work; of those beyond the shared memory's twenty, the worker that answers speaks for itself."""
        names = [f"p{i}" for i in range(24)]
        http = ("".join(f"tel_producer {name} config=edge.json;" for name in names) + "server { listen 127.0.0.1:@PORT@; access_log off;"
                "location / { " + "".join(f"tel_log {name} combined client=many; " for name in names) + "return 200 ok; }"
                "location /tel { tel_status; } }")
        with Nginx(http, clients=["many"], producers={"edge": {"embedded_broker": True, "queue.bytes": 65536, "queue.max_line_bytes": 4096}}) as nginx:
            self.assertIn('too many tel_producers: tel_status shows of "p23"', (nginx.folder / "stderr").read_text() + nginx.errors())
            nginx.get("/x")
            for name in names:
                nginx.settled(1, name)
                self.assertEqual(nginx.status()["producers"][name]["workers"], 1)

    def test_a_worker_is_small(self):
        """The README's figures for one producer and one broker, beyond an nginx that has none."""
        Kafka.shared().topics(["small"])
        with Nginx("server { listen 127.0.0.1:@PORT@; access_log off; location / { return 200 ok; } }") as plain:
            plain.get("/x")
            [bare] = plain.worker_pids()
            before = threads(bare), anonymous_kb(bare)
        with self.nginx("small", workers=1) as nginx:
            for _ in range(200):
                nginx.get("/x")
            nginx.settled(200)
            [worker] = [pid for pid in nginx.worker_pids() if threads(pid) > 1]
            more = threads(worker) - before[0], anonymous_kb(worker) - before[1]
            brokers = connections(worker, int(Kafka.shared().servers.rsplit(":", 1)[1]))
            print(f"life: one worker: {more[0]} threads, {more[1]} kB and {brokers} connections more", flush=True)
            self.assertLessEqual(more[0], 5)
            self.assertIn(brokers, (1, 2))
            if not os.environ.get("TEL_NGINX_PRELOAD"):
                self.assertLess(more[1], 12 * 1024 * 1.25)

    def test_helpers_start_nothing(self):
        with self.nginx("helpers", config={"bootstrap.servers": "127.0.0.1:1"}) as nginx:
            pids = wait_for("all processes", lambda: (lambda p: len(p) >= 3 and p)(nginx.worker_pids()))
            # A process just forked still has the master's name.
            names = wait_for("their names", lambda: (lambda n: all("master" not in m for m in n.values()) and n)(
                {p: pathlib.Path(f"/proc/{p}/cmdline").read_text() for p in pids}))
            self.assertEqual(threads(nginx.pid), 1)
            for pid, name in names.items():
                if "cache" in name:
                    self.assertEqual(threads(pid), 1, name)
                else:
                    wait_for("the worker's threads", lambda: threads(pid) > 1)
            nginx.stop(signal.SIGTERM)

    def test_without_a_master(self):
        Kafka.shared().topics(["single"])
        with self.nginx("single", workers=1, master=False) as nginx:
            nginx.get("/x")
            nginx.settled(1)
            nginx.get("/x")
            nginx.stop()
            self.assertEqual(self.same(nginx, "single"), 2)


if __name__ == "__main__":
    unittest.main()
