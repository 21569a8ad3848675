"""Opening, flushing, closing, letting go; and that none of it holds up the rest of the program."""

from __future__ import annotations

import copy
import gc
import math
import os
import pickle
import threading
import time
import weakref
from typing import Any, Dict, List

import pytest

import tel
from conftest import MakeProducer
from support import clients, read, wait_until


def quiet(level: int, message: str) -> None:
    pass


def test_leaving_the_with_statement_delivers_and_closes(make: MakeProducer, broker: str, client: str) -> None:
    with make(client) as producer:
        producer.submit_for(client, b"last words")
    assert read(broker, client) == [b"last words"]
    with pytest.raises(tel.Closed) as refused:
        producer.submit(b"c83 x")
    assert refused.value.code == 5
    with pytest.raises(tel.Closed):
        producer.submit_for("c83", b"x")
    assert producer.try_submit(b"c83 x") is False


def test_closing_twice_is_closing_once(make: MakeProducer) -> None:
    producer = make("c83")
    producer.close()
    producer.close()
    producer.close(0)
    with producer:
        pass


def test_a_close_that_ran_out_of_time_is_told_once(make: MakeProducer, nowhere: Dict[str, Any]) -> None:
    with make("c83", kafka=nowhere, log=quiet) as producer:
        producer.submit(b"c83 x")
        with pytest.raises(tel.Timeout):
            producer.close(0.05)
        assert producer.stats().failed == 1


def test_an_exception_in_the_with_statement_comes_through(make: MakeProducer, nowhere: Dict[str, Any]) -> None:
    # The close cannot deliver either; that is not the news.
    with pytest.raises(KeyError):
        with make("c83", kafka=nowhere, log=quiet, exit_timeout_ms=50) as producer:
            producer.submit(b"c83 x")
            raise KeyError("body")
    with pytest.raises(tel.Closed):
        producer.submit(b"c83 x")


def test_leaving_the_with_statement_says_if_lines_are_left(make: MakeProducer, nowhere: Dict[str, Any]) -> None:
    with pytest.raises(tel.Timeout):
        with make("c83", kafka=nowhere, log=quiet, exit_timeout_ms=50) as producer:
            producer.submit(b"c83 x")


def test_a_broker_that_is_away_holds_nobody_up(make: MakeProducer, nowhere: Dict[str, Any]) -> None:
    start = time.monotonic()
    producer = make("c83", kafka=nowhere, log=quiet)
    for number in range(100):
        producer.submit(b"c83 %d" % number)
    assert time.monotonic() - start < 1

    start = time.monotonic()
    with pytest.raises(tel.Timeout) as late:
        producer.flush(0.2)
    assert 0.2 <= time.monotonic() - start < 2
    assert late.value.code == 9

    start = time.monotonic()
    with pytest.raises(tel.Timeout):
        producer.close(0.3)
    # 100 ms beyond the timeout is the contract, held to in tests/c/lifecycle.c; the rest is for a busy machine.
    assert time.monotonic() - start < 2

    stats = producer.stats()
    assert (stats.submitted, stats.delivered, stats.residual) == (100, 0, 0)


def test_other_threads_run_while_one_waits(make: MakeProducer, nowhere: Dict[str, Any]) -> None:
    producer = make("c83", kafka=nowhere, log=quiet)
    producer.submit(b"c83 x")
    ticks: List[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.wait(0.001):
            ticks.append(time.monotonic())

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        start = time.monotonic()
        with pytest.raises(tel.Timeout):
            producer.flush(0.5)
        end = time.monotonic()
    finally:
        done.set()
        ticker.join()
    assert len([moment for moment in ticks if start < moment < end]) > 10


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan])
def test_a_timeout_is_not_negative(make: MakeProducer, broker: str, client: str, timeout: float) -> None:
    producer = make(client)
    with pytest.raises(ValueError, match="timeout"):
        producer.flush(timeout)
    with pytest.raises(ValueError, match="timeout"):
        producer.close(timeout)
    # Neither has closed it, nor made the next close one that does nothing.
    producer.submit_for(client, b"x")
    producer.close(30)
    assert read(broker, client) == [b"x"]


def test_timeouts_beyond_what_c_can_count_are_long(make: MakeProducer) -> None:
    producer = make("c83")
    producer.flush(1e12)
    producer.flush(math.inf)
    producer.close(math.inf)


def test_nothing_to_flush_takes_no_time(make: MakeProducer) -> None:
    producer = make("c83")
    for _ in range(20):
        producer.flush(0)
    producer.flush()


def test_a_producer_let_go_delivers_and_warns(make: MakeProducer, broker: str, client: str) -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    producer = tel.Producer({"kafka": {"bootstrap.servers": broker}})
    producer.set_clients(clients(client))
    producer.submit_for(client, b"left behind")
    assert threads() > before
    with pytest.warns(ResourceWarning, match="without being closed"):
        del producer
        gc.collect()
    wait_until(lambda: read(broker, client) == [b"left behind"], "the line of a producer let go")
    wait_until(lambda: threads() <= before, "the end of the producer's threads")


def test_a_closed_producer_is_collected_though_its_log_callable_refers_to_it(broker: str) -> None:
    class Owner:
        def __init__(self) -> None:
            self.producer = tel.Producer({"kafka": {"bootstrap.servers": broker}}, log=self.log)

        def log(self, level: int, message: str) -> None:
            pass

    owner = Owner()
    gone = weakref.ref(owner)
    owner.producer.close()
    del owner
    gc.collect()
    assert gone() is None


def test_a_refused_configuration_leaves_nothing_behind() -> None:
    class Log:
        def __call__(self, level: int, message: str) -> None:
            pass

    log = Log()
    gone = weakref.ref(log)
    with pytest.raises(tel.ConfigError):
        tel.Producer({}, log=log)
    del log
    gc.collect()
    assert gone() is None


def test_a_producer_is_neither_copied_nor_pickled(make: MakeProducer) -> None:
    producer = make("c83")
    for action in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="each process makes its own"):
            action(producer)


def test_many_producers_come_and_go(make: MakeProducer, broker: str, client: str) -> None:
    for number in range(10):
        with make(client) as producer:
            producer.submit_for(client, b"%d" % number)
    assert sorted(read(broker, client)) == [b"%d" % number for number in range(10)]
