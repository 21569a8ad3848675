"""What several tests need: the other end of the line, and ways to wait, fork and run programs that cannot hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NoReturn

import confluent_kafka

import tel

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PROGRAMS = HERE / "programs"

# Far beyond what anything here takes: reaching it is a failure, not a slow machine.
PATIENCE = 60.0


def clients(*ids: str) -> Dict[str, Any]:
    return {"clients": [{"id": name} for name in ids]}


def bootstrap(producer: tel.Producer) -> str:
    """The address of a producer's embedded broker."""
    address = producer.stats_json()["bootstrap_servers"]
    assert isinstance(address, str)
    return address


def create_topics(servers: str, names: Iterable[str]) -> None:
    """libtel never creates a topic; the embedded broker does so when any other producer asks about one."""
    other = confluent_kafka.Producer({"bootstrap.servers": servers})
    for name in names:
        other.list_topics(name, timeout=PATIENCE)


def topics(servers: str) -> List[str]:
    consumer = confluent_kafka.Consumer(_reader(servers))
    try:
        return sorted(consumer.list_topics(timeout=PATIENCE).topics)
    finally:
        consumer.close()


def read_partitions(servers: str, topic: str) -> List[List[bytes]]:
    """Every value in a topic now, by partition: exactly what lies between the broker's low and high offsets, so that one
    line too many is seen as well as one too few."""
    consumer = confluent_kafka.Consumer(_reader(servers))
    try:
        found = consumer.list_topics(topic, timeout=PATIENCE).topics[topic]
        assert found.error is None, found.error
        partitions: List[List[bytes]] = [[] for _ in found.partitions]
        starts, wanted = [], 0
        for number in range(len(partitions)):
            place = confluent_kafka.TopicPartition(topic, number)
            low, high = consumer.get_watermark_offsets(place, timeout=PATIENCE)
            assert low == 0, f"the embedded broker has dropped the oldest {low} messages of {topic}/{number}"
            wanted += high
            if high > 0:
                starts.append(confluent_kafka.TopicPartition(topic, number, low))
        if starts:
            consumer.assign(starts)
        end, count = time.monotonic() + PATIENCE, 0
        while count < wanted:
            assert time.monotonic() < end, f"{topic}: {count} of {wanted} messages could be read"
            for message in consumer.consume(wanted - count, timeout=1):
                assert message.error() is None, message.error()
                partitions[message.partition()].append(message.value())
                count += 1
        return partitions
    finally:
        consumer.close()


def read(servers: str, topic: str) -> List[bytes]:
    return [value for partition in read_partitions(servers, topic) for value in partition]


def _reader(servers: str) -> Dict[str, Any]:
    # The broker is asked often: nothing here is worth waiting half a second for.
    return {"bootstrap.servers": servers, "group.id": "reader", "enable.auto.commit": False, "fetch.wait.max.ms": 10}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE:.0f} s for: {what}"
        time.sleep(0.01)


class Submitters:
    """Threads that submit a line every few tenths of a millisecond until the block ends. Paced, because the embedded broker
    forgets the oldest messages of a partition that grows large, and because the rest of the machine has work too."""

    def __init__(self, producer: tel.Producer, client: str, threads: int = 4) -> None:
        self._producer = producer
        self._line = f"{client} x".encode()
        self._stop = threading.Event()
        self._counts = [0] * threads
        self._refused = [0] * threads
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(threads)]

    def _submit(self, number: int) -> None:
        while not self._stop.wait(0.0005):
            if self._producer.try_submit(self._line):
                self._counts[number] += 1
            else:
                self._refused[number] += 1

    @property
    def taken(self) -> int:
        return sum(self._counts)

    @property
    def refused(self) -> int:
        return sum(self._refused)

    def __enter__(self) -> "Submitters":
        for thread in self._threads:
            thread.start()
        wait_until(lambda: all(self._counts), "a first line of each thread")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def fork(body: Callable[[], None]) -> int:
    """Runs body in a forked child that ends in os._exit: 0 if body returns, 1 if it raises, a signal if it hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_child(body)
    return child


def _be_child(body: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        signal.alarm(int(PATIENCE))
        body()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def join(child: int) -> None:
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status), f"the child was ended by signal {os.WTERMSIG(status)}"
    assert os.WEXITSTATUS(status) == 0, f"the child ended with {os.WEXITSTATUS(status)}"


def run_program(program: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a Python program to its end, with warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", str(program), *arguments],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def assert_clean(done: "subprocess.CompletedProcess[str]") -> None:
    """The program ended well and had nothing to complain of. libtel's own messages are no complaints."""
    assert done.returncode == 0, done.stderr
    for word in ("Traceback", "Fatal", "panicked", "Exception ignored", "Warning"):
        assert word not in done.stderr, done.stderr
