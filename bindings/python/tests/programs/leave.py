"""Submits a hundred lines and ends without closing, in the way asked for."""

import atexit
import sys
import threading
from typing import List

import tel

broker, client, way, log = sys.argv[1:]
ALL = range(100)


def quiet(level: int, message: str) -> None:
    pass


producer = tel.Producer(
    {"kafka": {"bootstrap.servers": broker}, "exit_timeout_ms": 500 if client == "c83" else 20000},
    log=quiet if log == "callable" else None,
)
producer.set_clients({"clients": [{"id": client}]})


def submit_all() -> None:
    for number in ALL:
        producer.submit_for(client, b"%d" % number)


def submit_for_ever(started: threading.Event) -> None:
    while True:
        producer.try_submit("stranger x")
        started.set()


def wait_for_ever(started: threading.Event) -> None:
    started.set()
    try:
        producer.flush()
    except tel.TelError:
        pass


def start_daemons(run: "object") -> None:
    events: List[threading.Event] = [threading.Event() for _ in range(3)]
    for event in events:
        threading.Thread(target=run, args=(event,), daemon=True).start()  # type: ignore[arg-type]
    for event in events:
        event.wait()


if way == "atexit":
    atexit.register(submit_all)
elif way == "threads":

    def submit_slice(start: int) -> None:
        for number in ALL[start::4]:
            producer.submit_for(client, b"%d" % number)

    for start in range(4):
        threading.Thread(target=submit_slice, args=(start,)).start()
else:
    submit_all()

if way == "daemons":
    start_daemons(submit_for_ever)
elif way == "flushing":
    start_daemons(wait_for_ever)
elif way == "sys.exit":
    sys.exit(0)
elif way == "exception":
    raise KeyError("the program")
elif way == "cycle":
    # Collected, if at all, while the interpreter is being taken down.
    cycle: List[object] = [producer]
    cycle.append(cycle)
    del producer, cycle
elif way == "in-function":

    def holds() -> None:
        kept = producer
        kept.wants(client)

    holds()
