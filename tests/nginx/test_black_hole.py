"""Kafka's packets are dropped while its connections are up: no request notices. In a network namespace of its own; as root."""

import json
import os
import signal
import subprocess
import sys
import unittest

from support import Kafka, Nginx, wait_for
from test_life import HTTP, WAITED, Load


def drop_packets(port):
    """Those to and from a port, from now on."""
    rules = "".join(f"tcp {side} {port} drop; " for side in ("dport", "sport"))
    subprocess.run(["nft", "table inet hole { chain out { type filter hook output priority 0; " + rules + "}; }"], check=True)

def pass_packets():
    """Again: Kafka itself ends in order only if it hears itself."""
    subprocess.run(["nft", "delete table inet hole"], check=True)


def inside():
    """What is seen: a JSON object on the last line."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Kafka.shared().topics(["hole"])
    kafka = {"bootstrap.servers": Kafka.shared().servers, "linger.ms": 20, "broker.address.family": "v4"}
    with Nginx(HTTP.replace("@CLIENT@", "hole"), clients=["hole"], producers={
            "edge": {"kafka": kafka, "queue.bytes": 65536, "batches.bytes": 1 << 20, "queue.max_line_bytes": 4096}}) as nginx:
        with Load(nginx) as load:
            wait_for("lines are delivered", lambda: nginx.total()["delivered"] > 100)
            drop_packets(Kafka.shared().servers.rsplit(":", 1)[1])
            wait_for("the queue is full", lambda: nginx.total()["dropped_full"] > 100)
        nginx.stop(signal.SIGTERM)
        pass_packets()
        killed = "signal 9" in nginx.errors()
    print(json.dumps({"requests": load.done, "failed": [str(f) for f in load.failed], "slowest": load.slowest, "killed": killed}))


class BlackHole(unittest.TestCase):
    def test_packets_are_dropped(self):
        self.assertEqual(os.geteuid(), 0, "a network namespace is made: run the tests as root")
        done = subprocess.run(["unshare", "--net", sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        seen = json.loads(done.stdout.splitlines()[-1])
        print(f"black hole: {seen}", flush=True)
        self.assertEqual(seen["failed"], [])
        self.assertLess(seen["slowest"], WAITED)
        self.assertFalse(seen["killed"], "nginx lost patience with a worker")


if __name__ == "__main__":
    inside()
