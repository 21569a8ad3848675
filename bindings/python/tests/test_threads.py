"""One producer, many threads."""

from __future__ import annotations

import threading
from typing import Dict, List, Tuple

from conftest import MakeProducer
from support import Submitters, clients, create_topics, read, read_partitions, wait_until

THREADS = 4
LINES = 5000


def test_threads_share_a_producer_and_each_keeps_its_order(make: MakeProducer, broker: str, client: str) -> None:
    names = [f"{client}-{number}" for number in range(3)]
    create_topics(broker, names)
    producer = make(*names)
    start = threading.Barrier(THREADS)
    refused: List[int] = []

    def submit(thread: int) -> None:
        start.wait()
        for number in range(LINES):
            if not producer.try_submit(f"{names[number % 3]} {thread} {number}"):
                refused.append(number)

    threads = [threading.Thread(target=submit, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.flush(30)

    assert refused == []
    seen = 0
    for place, name in enumerate(names):
        arrived: List[Tuple[int, int]] = []
        for partition in read_partitions(broker, name):
            last: Dict[int, int] = {}
            for value in partition:
                thread_number, number = map(int, value.split())
                assert number > last.get(thread_number, -1), f"{name}: {number} after {last[thread_number]}"
                last[thread_number] = number
                arrived.append((thread_number, number))
        expected = [(thread_number, number) for thread_number in range(THREADS) for number in range(place, LINES, 3)]
        assert sorted(arrived) == expected
        seen += len(arrived)
    stats = producer.stats()
    assert seen == stats.submitted == stats.delivered == THREADS * LINES
    assert stats.residual == 0


def test_lists_statistics_and_flushes_go_on_while_threads_submit(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)
    with Submitters(producer, client) as submitters:
        for number in range(50):
            producer.set_clients(clients(client, f"other{number}"))
            assert producer.wants(client)
            stats = producer.stats()
            assert stats.residual >= 0
            assert producer.stats_json()["total"]["submitted"] >= stats.submitted
            if number % 10 == 0:
                producer.flush(30)
    producer.flush(30)
    stats = producer.stats()
    assert submitters.refused == 0
    assert stats.delivered == submitters.taken == len(read(broker, client))
    assert stats.residual == 0


def test_a_close_meets_threads_that_still_submit(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)
    with Submitters(producer, client) as submitters:
        producer.close(30)
        before = submitters.refused
        wait_until(lambda: submitters.refused > before, "a line after the close")
    stats = producer.stats()
    assert stats.delivered == submitters.taken == len(read(broker, client))
    assert stats.residual == 0
