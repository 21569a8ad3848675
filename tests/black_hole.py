"""Dropped packets, in a network namespace of one's own. Needs root, unshare, ip and nft."""

import os
import subprocess
import sys


def run_inside(*command):
    """A Python program in a new namespace, which ends well. What it prints."""
    if os.geteuid() != 0:
        raise AssertionError("a network namespace is made: run this as root")
    done = subprocess.run(["unshare", "--net", sys.executable, *command], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{command[0]}: status {done.returncode}: {done.stdout}")
    return done.stdout


def bring_up_loopback():
    """What a new namespace has not."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def drop_packets(port):
    """Those to and from a port, from now on."""
    rules = "".join(f"tcp {side} {port} drop; " for side in ("dport", "sport"))
    subprocess.run(["nft", "table inet hole { chain out { type filter hook output priority 0; " + rules + "}; }"], check=True)


def pass_packets():
    """Again: Kafka itself ends in order only if it hears itself."""
    subprocess.run(["nft", "delete table inet hole"], check=True)
