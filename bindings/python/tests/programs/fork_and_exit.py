"""Forks, and lets parent and child run to the end of the program with every exit handler, Python's and C's."""

import os
import sys
import warnings

import tel

broker, client = sys.argv[1:]


def log(level: int, message: str) -> None:
    pass


def open_producer() -> tel.Producer:
    producer = tel.Producer({"kafka": {"bootstrap.servers": broker}}, log=log)
    producer.set_clients({"clients": [{"id": client}]})
    return producer


inherited = open_producer()
inherited.submit_for(client, b"parent before")
# Python 3.12 warns of what is done here on purpose.
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    own = open_producer()
    own.submit_for(client, b"child")
    sys.exit(0)
_, status = os.waitpid(child, 0)
inherited.submit_for(client, b"parent after")
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 99)
