"""Kafka's packets are dropped while its connections are up: no request notices. In a network namespace of its own; as root."""

import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import black_hole  # noqa: E402
import servers  # noqa: E402
from test_lifecycle import WAITED, Load, vcl  # noqa: E402


def inside():
    """What is seen: a JSON object on the last line."""
    black_hole.bring_up_loopback()
    kafka = servers.Kafka()
    try:
        kafka.topics("c83")
        home = servers.folder("conf")
        servers.write_clients(home / "clients.json", ["c83"])
        config = servers.write(home / "tel.json", json.dumps({
            "kafka": {"bootstrap.servers": kafka.bootstrap, "linger.ms": 20, "broker.address.family": "v4"},
            "clients.file": str(home / "clients.json"), "queue.bytes": 65536, "batches.bytes": 1 << 20}))
        varnish = servers.Varnish(vcl(config, tag="x" * 1000))
        try:
            load = Load(varnish.port)
            try:
                servers.wait_for(lambda: varnish.counters()["TEL.tel.delivered"] > 100, "lines are delivered")
                black_hole.drop_packets(kafka.bootstrap.rsplit(":", 1)[1])
                servers.wait_for(lambda: varnish.counters()["TEL.tel.log_refused"] > 100, "the queue is full", 60)
            finally:
                requests = load.stop()
                black_hole.pass_packets()
            servers.wait_for(lambda: varnish.access_lines("TEL.tel.") == requests, f"{requests} lines counted")
        finally:
            varnish.stop()
    finally:
        kafka.stop()
    print(json.dumps({"requests": requests, "failed": [str(f) for f in load.failures], "slowest": load.slowest}))


class BlackHole(unittest.TestCase):
    def test_packets_are_dropped(self):
        seen = json.loads(black_hole.run_inside(__file__).splitlines()[-1])
        print(f"black hole: {seen}")
        self.assertEqual(seen["failed"], [])
        self.assertLess(seen["slowest"], WAITED)


if __name__ == "__main__":
    inside()
