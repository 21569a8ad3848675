"""Kafka's packets are dropped while its connections are up: no request notices. In a network namespace of its own; as root."""

import json
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import black_hole  # noqa: E402
from support import Kafka, Nginx, wait_for  # noqa: E402
from test_life import HTTP, WAITED, Load  # noqa: E402


def inside():
    """What is seen: a JSON object on the last line."""
    black_hole.bring_up_loopback()
    Kafka.shared().topics(["hole"])
    kafka = {"bootstrap.servers": Kafka.shared().servers, "linger.ms": 20, "broker.address.family": "v4"}
    with Nginx(HTTP.replace("@CLIENT@", "hole"), clients=["hole"], producers={
            "edge": {"kafka": kafka, "queue.bytes": 65536, "batches.bytes": 1 << 20, "queue.max_line_bytes": 4096}}) as nginx:
        with Load(nginx) as load:
            wait_for("lines are delivered", lambda: nginx.total()["delivered"] > 100)
            black_hole.drop_packets(Kafka.shared().servers.rsplit(":", 1)[1])
            wait_for("the queue is full", lambda: nginx.total()["dropped_full"] > 100)
        nginx.stop(signal.SIGTERM)
        black_hole.pass_packets()
        killed = "signal 9" in nginx.errors()
    print(json.dumps({"requests": load.done, "failed": [str(f) for f in load.failed], "slowest": load.slowest, "killed": killed}))


class BlackHole(unittest.TestCase):
    def test_packets_are_dropped(self):
        seen = json.loads(black_hole.run_inside(__file__).splitlines()[-1])
        print(f"black hole: {seen}", flush=True)
        self.assertEqual(seen["failed"], [])
        self.assertLess(seen["slowest"], WAITED)
        self.assertFalse(seen["killed"], "nginx lost patience with a worker")


if __name__ == "__main__":
    inside()
