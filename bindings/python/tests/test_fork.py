"""Forks: the child has no producer until it makes one, the parent loses nothing, both end well."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import warnings
import weakref
from typing import Any, Callable, List

import pytest

import tel
from conftest import MakeProducer
from support import PATIENCE, PROGRAMS, Submitters, assert_clean, clients, fork, join, read, run_program

FORK = multiprocessing.get_context("fork")


def everything_is_refused(producer: tel.Producer) -> None:
    """What a child sees of a producer it has inherited."""
    calls: List[Callable[[], Any]] = [
        lambda: producer.submit(b"c83 child"),
        lambda: producer.submit_for("c83", b"child"),
        lambda: producer.flush(),
        lambda: producer.flush(1),
        lambda: producer.stats(),
        lambda: producer.stats_json(),
        lambda: producer.set_clients(clients("c83")),
        lambda: producer.reload_clients(),
        lambda: producer.reload_clients("/nonexistent"),
    ]
    for call in calls:
        with pytest.raises(tel.Forked) as refused:
            call()
        assert refused.value.code == 4 and str(refused.value)
    assert producer.try_submit(b"c83 child") is False
    assert producer.wants("c83") is False


def send(broker: str, client: str, line: bytes) -> None:
    """What a child does that has lines of its own."""
    with tel.Producer({"kafka": {"bootstrap.servers": broker}}) as own:
        own.set_clients(clients(client))
        own.submit_for(client, line)
        own.flush(30)
        assert own.stats().delivered == 1
        assert own.stats().residual == 0


def test_a_forked_child_is_refused_and_its_own_producer_delivers(
    make: MakeProducer, broker: str, client: str
) -> None:
    producer = make(client)
    producer.submit_for(client, b"parent before")

    def child() -> None:
        everything_is_refused(producer)
        send(broker, client, b"child")
        everything_is_refused(producer)
        tel.check_config({"embedded_broker": True})
        assert tel.version()

    pid = fork(child)
    producer.submit_for(client, b"parent meanwhile")
    join(pid)
    producer.submit_for(client, b"parent after")
    producer.flush(30)
    assert sorted(read(broker, client)) == [b"child", b"parent after", b"parent before", b"parent meanwhile"]
    stats = producer.stats()
    assert (stats.submitted, stats.delivered, stats.residual) == (3, 3, 0)


def test_closing_and_letting_go_of_an_inherited_producer_is_harmless(broker: str, client: str) -> None:
    holder = [tel.Producer({"kafka": {"bootstrap.servers": broker}}) for _ in range(2)]
    for producer in holder:
        producer.set_clients(clients(client))
        producer.submit_for(client, b"parent before")
    del producer

    def child() -> None:
        with holder[0]:
            pass
        holder[0].close()
        holder[0].close(1)
        # Not "closed": still the parent's.
        everything_is_refused(holder[0])
        gone = [weakref.ref(producer) for producer in holder]
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            holder.clear()
            gc.collect()
        assert [reference() for reference in gone] == [None, None]
        assert warned == [] and threading.active_count() == 1

    join(fork(child))
    for producer in holder:
        producer.submit_for(client, b"parent after")
        producer.close(30)
        assert producer.stats().residual == 0
    assert sorted(read(broker, client)) == [b"parent after"] * 2 + [b"parent before"] * 2


def test_a_grandchild_is_a_child(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)

    def child() -> None:
        everything_is_refused(producer)
        with tel.Producer({"kafka": {"bootstrap.servers": broker}}) as own:

            def grandchild() -> None:
                everything_is_refused(producer)
                everything_is_refused(own)
                send(broker, client, b"grandchild")

            join(fork(grandchild))
            own.set_clients(clients(client))
            own.submit_for(client, b"child")

    join(fork(child))
    producer.submit_for(client, b"parent")
    producer.flush(30)
    assert sorted(read(broker, client)) == [b"child", b"grandchild", b"parent"]


def test_an_embedded_broker_in_the_parent_does_not_keep_the_child_from_its_own(client: str) -> None:
    config = {"embedded_broker": True}
    with tel.Producer(config, log=lambda level, message: None) as producer:

        def child() -> None:
            everything_is_refused(producer)
            with tel.Producer(config, log=lambda level, message: None) as own:
                own.set_clients(clients(client))
                own.submit_for(client, b"child")
                own.flush(30)
                assert read(own.stats_json()["bootstrap_servers"], client) == [b"child"]

        producer.set_clients(clients(client))
        producer.submit_for(client, b"parent")
        join(fork(child))
        producer.flush(30)
        assert read(producer.stats_json()["bootstrap_servers"], client) == [b"parent"]


def test_forks_while_threads_submit(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)
    with Submitters(producer, client) as submitters:
        for number in range(10):
            join(fork(lambda: everything_is_refused(producer)))
        join(fork(lambda: send(broker, client, b"child")))
    producer.flush(30)
    values = read(broker, client)
    assert values.count(b"child") == 1
    assert len(values) - 1 == submitters.taken == producer.stats().delivered
    assert producer.stats().residual == 0


@pytest.mark.parametrize("leave", ["closed", "left open"])
def test_multiprocessing_children(make: MakeProducer, broker: str, client: str, leave: str) -> None:
    producer = make(client)
    producer.submit_for(client, b"parent before")

    def child(number: int) -> None:
        everything_is_refused(producer)
        if leave == "closed":
            send(broker, client, b"child %d" % number)
        else:
            # Nobody closes it, and such a child runs no C exit handler.
            global left_open
            left_open = tel.Producer({"kafka": {"bootstrap.servers": broker}})
            left_open.set_clients(clients(client))
            left_open.submit_for(client, b"child %d" % number)

    children = [FORK.Process(target=child, args=(number,)) for number in range(3)]
    for process in children:
        process.start()
    for process in children:
        process.join(PATIENCE)
        assert process.exitcode == 0
    producer.submit_for(client, b"parent after")
    producer.flush(30)
    expected = [b"child 0", b"child 1", b"child 2", b"parent after", b"parent before"]
    assert sorted(read(broker, client)) == expected
    assert producer.stats().residual == 0


left_open: tel.Producer


def test_a_pool_of_processes(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)
    producer.submit_for(client, b"parent")
    with FORK.Pool(2) as pool:
        pool.starmap(send, [(broker, client, b"child %d" % number) for number in range(4)])
        pool.close()
        pool.join()
    producer.flush(30)
    assert sorted(read(broker, client)) == [b"child %d" % number for number in range(4)] + [b"parent"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_program_and_its_children_end_well(broker: str, client: str, method: str) -> None:
    done = run_program(PROGRAMS / "children.py", broker, client, method)
    assert_clean(done)
    expected = sorted([b"parent before", b"parent after"] + [b"child %d" % number for number in range(3)])
    assert sorted(read(broker, client)) == expected


def test_a_child_that_ends_like_a_program_ends_well(broker: str, client: str) -> None:
    done = run_program(PROGRAMS / "fork_and_exit.py", broker, client)
    assert_clean(done)
    assert sorted(read(broker, client)) == [b"child", b"parent after", b"parent before"]


def test_the_child_knows_its_own_process(make: MakeProducer) -> None:
    # Against a fork that never happened: the helpers above would then prove nothing.
    parent = os.getpid()
    join(fork(lambda: None if os.getpid() != parent else pytest.fail("no fork")))
