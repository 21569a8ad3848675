"""Kafka's packets are dropped while its connections are up: no request notices. In a network namespace of its own; as root."""

import json
import os
import subprocess
import sys
import unittest

import servers
from test_lifecycle import WAITED, Load, vcl


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
                drop_packets(kafka.bootstrap.rsplit(":", 1)[1])
                servers.wait_for(lambda: varnish.counters()["TEL.tel.log_refused"] > 100, "the queue is full", 60)
            finally:
                requests = load.stop()
                pass_packets()
            counters = varnish.counters()
        finally:
            varnish.stop()
    finally:
        kafka.stop()
    lines = counters["TEL.tel.log_lines"] + counters["TEL.tel.log_refused"]
    print(json.dumps({"requests": requests, "lines": lines, "failed": [str(f) for f in load.failures], "slowest": load.slowest}))


class BlackHole(unittest.TestCase):
    def test_packets_are_dropped(self):
        self.assertEqual(os.geteuid(), 0, "a network namespace is made: run the tests as root")
        done = subprocess.run(["unshare", "--net", sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)
        seen = json.loads(done.stdout.splitlines()[-1])
        print(f"black hole: {seen}")
        self.assertEqual(seen["failed"], [])
        self.assertEqual(seen["lines"], seen["requests"])
        self.assertLess(seen["slowest"], WAITED)


if __name__ == "__main__":
    inside()
