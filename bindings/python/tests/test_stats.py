"""Counters as a value and as JSON."""

from __future__ import annotations

import dataclasses

import pytest

import tel
from conftest import MakeProducer
from support import clients
from tel import producer as producer_module


def filled(make: MakeProducer, client: str) -> tel.Producer:
    producer = make(client)
    for number in range(50):
        producer.submit_for(client, b"%d" % number)
    producer.submit(b"stranger x")
    producer.submit(b"malformed")
    producer.flush(30)
    return producer


def test_every_line_is_accounted_for(make: MakeProducer, client: str) -> None:
    stats = filled(make, client).stats()
    assert (stats.submitted, stats.delivered, stats.unknown_client, stats.malformed) == (52, 50, 1, 1)
    assert stats.in_flight == 0
    assert stats.accounted == 52 and stats.residual == 0
    assert stats.last_delivery_unix_ms > 1_600_000_000_000


def test_the_residual_is_a_check_and_no_definition() -> None:
    names = [field.name for field in dataclasses.fields(tel.Stats)]
    stats = tel.Stats(**{**dict.fromkeys(names, 0), "submitted": 10, "delivered": 7, "spooled": 1, "in_flight": 1})
    assert stats.residual == 1
    # Every term that is counted in lines, and no other, is part of it.
    for name in names:
        change = dataclasses.replace(stats, **{name: getattr(stats, name) + 1}).residual - stats.residual
        place = names.index(name)
        assert change == (1 if place < 2 else -1 if place < names.index("sanitized") else 0), name


def test_a_snapshot_does_not_change(make: MakeProducer, client: str) -> None:
    stats = filled(make, client).stats()
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.delivered = 0  # type: ignore[misc]


def test_the_json_has_the_same_totals_and_each_client(make: MakeProducer, client: str) -> None:
    producer = filled(make, client)
    picture = producer.stats_json()
    # A gauge of time moves between two calls; lines do not.
    totals = {name: value for name, value in dataclasses.asdict(producer.stats()).items() if not name.endswith("_ms")}
    assert {name: picture["total"][name] for name in totals} == totals
    mine = picture["clients"][client]
    terms = ("delivered", "failed", "dropped_rate", "dropped_spool", "sampled_out", "spooled", "in_flight")
    assert mine["routed"] == mine["delivered"] == 50
    assert mine["routed"] == sum(mine[name] for name in terms)


@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_json_is_whole_whatever_room_it_is_first_given(
    make: MakeProducer, client: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    producer = filled(make, client)
    whole = producer.stats_json()
    monkeypatch.setattr(producer_module, "_JSON_SIZE", size)
    assert producer.stats_json()["clients"] == whole["clients"]


def test_the_json_of_many_clients_is_whole(make: MakeProducer) -> None:
    producer = make(*(f"{number:0>100}" for number in range(2000)))
    assert producer.stats_json()["total"]["clients"] == 2000


def test_statistics_outlive_the_close(make: MakeProducer, client: str) -> None:
    producer = filled(make, client)
    before = producer.stats()
    producer.close(30)
    after = producer.stats()
    assert (after.submitted, after.delivered, after.residual) == (before.submitted, before.delivered, 0)
    assert producer.stats_json()["clients"][client]["delivered"] == 50
    with pytest.raises(tel.Closed):
        producer.submit(b"stranger x")
    assert producer.stats().submitted == before.submitted


def test_clients_are_counted(make: MakeProducer) -> None:
    producer = make()
    assert producer.stats().clients == 0
    producer.set_clients(clients("a", "b", "c"))
    assert producer.stats().clients == 3
