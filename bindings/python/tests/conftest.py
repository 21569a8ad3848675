from __future__ import annotations

import itertools
import socket
from typing import Any, Callable, Dict, Iterator, List

import pytest

import tel
from support import bootstrap, clients, create_topics

MakeProducer = Callable[..., tel.Producer]

_names = itertools.count(1)


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The address of an embedded broker that outlives the producers under test."""
    with tel.Producer({"embedded_broker": True}, log=lambda level, message: None) as host:
        yield bootstrap(host)


@pytest.fixture
def client(broker: str) -> str:
    """A client id of this test's own, with its topic."""
    name = f"client{next(_names)}"
    create_topics(broker, [name])
    return name


@pytest.fixture
def make(broker: str) -> Iterator[MakeProducer]:
    """Makes producers for the broker, with a short batching time; closes them when the test ends, in whatever state."""
    made: List[tel.Producer] = []

    def make(*ids: str, log: Any = None, kafka: Any = None, **config: Any) -> tel.Producer:
        properties = {"bootstrap.servers": broker, "queue.buffering.max.ms": 20, **(kafka or {})}
        producer = tel.Producer({"kafka": properties, **config}, log=log)
        made.append(producer)
        if ids:
            producer.set_clients(clients(*ids))
        return producer

    yield make
    for producer in made:
        try:
            producer.close(1)
        except tel.TelError:
            pass


@pytest.fixture
def nowhere() -> Iterator[Dict[str, Any]]:
    """Kafka properties of a broker that is not there: the port is held, and nobody listens on it."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield {"bootstrap.servers": "127.0.0.1:%d" % holder.getsockname()[1]}
