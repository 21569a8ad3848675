"""Lines in, and the same lines out of the broker."""

from __future__ import annotations

from typing import Any, Dict

import pytest

import tel
from conftest import MakeProducer
from support import bootstrap, clients, read, read_partitions, topics


def test_the_embedded_broker_delivers_each_clients_lines_to_its_topic() -> None:
    with tel.Producer({"embedded_broker": True}, log=lambda level, message: None) as producer:
        producer.set_clients({"clients": [{"id": "c83"}, {"id": "acme", "topic": "logs.acme"}]})
        for number in range(100):
            producer.submit(b"c83 GET /%d" % number)
            producer.submit(f"acme GET /{number}")
            producer.submit(b"stranger GET /%d" % number)
        producer.flush(30)
        address = bootstrap(producer)
        expected = sorted(b"GET /%d" % number for number in range(100))
        assert sorted(read(address, "c83")) == expected
        assert sorted(read(address, "logs.acme")) == expected
        assert not {"stranger", "acme"} & set(topics(address))
        stats = producer.stats()
    assert (stats.submitted, stats.delivered, stats.unknown_client, stats.residual) == (300, 200, 100, 0)


def test_order_is_kept_within_a_partition(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)
    for number in range(2000):
        producer.submit_for(client, b"%d" % number)
    producer.flush(30)
    partitions = [[int(value) for value in partition] for partition in read_partitions(broker, client)]
    assert sorted(number for partition in partitions for number in partition) == list(range(2000))
    assert all(partition == sorted(partition) for partition in partitions)


def test_what_is_delivered_is_the_line_after_the_first_space(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)
    id = client.encode()
    lines = {
        b" plain": b"plain",
        b" two  spaces ": b"two  spaces ",
        b" newline\n": b"newline",
        b" both\r\n": b"both",
        b" \xff\xfe no text": b"\xff\xfe no text",
        b" a\rb\nc\0d": b"a\\rb\\nc\\0d",
    }
    for line in lines:
        producer.submit(id + line)
    producer.flush(30)
    assert sorted(read(broker, client)) == sorted(lines.values())
    stats = producer.stats()
    assert (stats.delivered, stats.sanitized, stats.residual) == (len(lines), 1, 0)
    assert stats.bytes_delivered == sum(map(len, lines.values()))


def test_text_is_utf8_and_undecodable_bytes_come_out_as_they_went_in(
    make: MakeProducer, broker: str, client: str
) -> None:
    producer = make(client)
    producer.submit(f"{client} größe 5 €")
    producer.submit(client + " " + b"caf\xe9".decode("utf-8", "surrogateescape"))
    producer.submit_for(client, "größe")
    producer.flush(30)
    assert sorted(read(broker, client)) == sorted(["größe 5 €".encode(), b"caf\xe9", "größe".encode()])


def test_text_that_is_no_text_is_refused(make: MakeProducer, client: str) -> None:
    producer = make(client)
    with pytest.raises(UnicodeEncodeError):
        producer.submit(f"{client} \ud800")
    assert producer.stats().submitted == 0


@pytest.mark.parametrize("line", [bytearray(b"c83 x"), memoryview(b"c83 x"), None, 1, ["c83 x"]])
def test_buffers_and_other_types_are_refused_by_name(make: MakeProducer, line: Any) -> None:
    producer = make("c83")
    for call in (producer.submit, producer.try_submit):
        with pytest.raises(TypeError, match=f"line must be bytes or str, not {type(line).__name__}"):
            call(line)
    with pytest.raises(TypeError, match="line must be bytes or str"):
        producer.submit_for("c83", line)
    with pytest.raises(TypeError, match="client id must be bytes or str"):
        producer.submit_for(line, b"x")
    with pytest.raises(TypeError, match="client id must be bytes or str"):
        producer.wants(line)
    assert producer.stats().submitted == 0


def test_a_bytes_object_that_lies_about_its_length_is_read_to_its_end_only(
    make: MakeProducer, broker: str, client: str
) -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return 4000

    producer = make(client)
    producer.submit(Long(client.encode() + b" short"))
    producer.flush(30)
    assert read(broker, client) == [b"short"]


def test_a_client_given_apart_cannot_be_forged_by_the_line(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)
    producer.submit_for(client, b"other GET /")
    producer.submit_for(client.encode(), "no-space")
    producer.flush(30)
    assert sorted(read(broker, client)) == [b"no-space", b"other GET /"]


def test_lines_that_are_none_are_counted(make: MakeProducer, client: str) -> None:
    producer = make(client)
    for line in (b"", b"no-space", b" no-id", b"a/b slash", b"i" * 129 + b" long id"):
        producer.submit(line)
    producer.flush(30)
    stats = producer.stats()
    assert (stats.submitted, stats.malformed, stats.residual) == (5, 5, 0)


def test_a_line_over_the_limit_is_refused_and_counted(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client, **{"queue.max_line_bytes": 1024})
    start = client.encode() + b" "
    longest = start + b"x" * (1024 - len(start))
    producer.submit(longest)
    with pytest.raises(tel.LineTooLong) as refused:
        producer.submit(longest + b"x")
    assert refused.value.code == 3
    assert not producer.try_submit(longest + b"x")
    with pytest.raises(tel.LineTooLong):
        producer.submit_for(client, b"x" * 1_000_000)
    producer.flush(30)
    assert read(broker, client) == [longest[len(start) :]]
    stats = producer.stats()
    assert (stats.submitted, stats.delivered, stats.dropped_too_long, stats.residual) == (4, 1, 3, 0)


def test_a_full_queue_refuses_at_once_and_counts(make: MakeProducer, nowhere: Dict[str, Any]) -> None:
    producer = make(
        "c83",
        kafka=nowhere,
        log=lambda level, message: None,
        **{"queue.bytes": 1 << 20, "batches.bytes": 1 << 20},
    )
    line = b"c83 " + b"x" * 996
    taken = 0
    with pytest.raises(tel.QueueFull) as refused:
        # Far more than two times one megabyte can hold.
        for taken in range(100_000):
            producer.submit(line)
    assert refused.value.code == 2 and str(refused.value)
    assert 0 < taken <= 2 * (1 << 20) // len(line)
    refusals = 1 + [producer.try_submit(line) for _ in range(1000)].count(False)
    assert refusals > 1
    stats = producer.stats()
    assert stats.dropped_full == refusals
    assert stats.submitted == taken + 1 + 1000


def test_wants_tells_which_lines_are_worth_formatting(make: MakeProducer, client: str) -> None:
    producer = make(client)
    assert producer.wants(client) and producer.wants(client.encode())
    assert not producer.wants("stranger")
    assert not producer.wants("")
    producer.set_clients(clients())
    assert not producer.wants(client)
