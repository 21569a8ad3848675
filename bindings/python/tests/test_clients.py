"""The client list: from a file, from memory, changed while lines flow."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import tel
from conftest import MakeProducer
from support import clients, read, wait_until


def write(file: Path, content: Any) -> None:
    """As everything that writes the list does: whole, by rename."""
    temporary = file.with_suffix(".tmp")
    temporary.write_text(content if isinstance(content, str) else json.dumps(content))
    os.replace(temporary, file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clients.json"


def test_a_list_from_memory_as_mapping_text_and_bytes(make: MakeProducer) -> None:
    producer = make()
    assert not producer.wants("c83")
    producer.set_clients({"revision": 7, "clients": [{"id": "c83"}]})
    assert producer.wants("c83")
    assert (producer.stats().clients, producer.stats().clients_revision) == (1, 7)
    producer.set_clients('{"clients": [{"id": "acme"}]}')
    assert producer.wants("acme") and not producer.wants("c83")
    producer.set_clients(b'{"clients": []}')
    assert not producer.wants("acme")


@pytest.mark.parametrize("wrong", ["", "{", "[]", '{"clients": 1}', b"\xff"])
def test_what_is_no_list_changes_nothing(make: MakeProducer, wrong: Any) -> None:
    producer = make("c83")
    with pytest.raises(tel.ClientsError) as refused:
        producer.set_clients(wrong)
    assert refused.value.code == 7 and str(refused.value)
    assert producer.wants("c83")


def test_other_types_are_no_list(make: MakeProducer) -> None:
    producer = make("c83")
    with pytest.raises(TypeError, match="client list must be"):
        producer.set_clients([{"id": "acme"}])  # type: ignore[arg-type]
    assert producer.wants("c83")


def test_a_bad_entry_is_left_out_alone(make: MakeProducer) -> None:
    producer = make(log=lambda level, message: None)
    producer.set_clients({"clients": [{"id": "c83"}, {"id": "a/b"}, {"id": "__x"}, {"id": "c83"}, {"id": "acme"}]})
    assert producer.wants("c83") and producer.wants("acme")
    stats = producer.stats()
    assert (stats.clients, stats.clients_rejected) == (2, 3)


def test_a_file_is_read_at_start_and_again_when_asked(make: MakeProducer, file: Path, tmp_path: Path) -> None:
    write(file, clients("c83"))
    producer = make(**{"clients.file": file, "clients.watch": False})
    assert producer.wants("c83")
    write(file, clients("acme"))
    producer.reload_clients()
    assert producer.wants("acme") and not producer.wants("c83")
    other = tmp_path / "other.json"
    write(other, clients("c84"))
    for path in (other, str(other)):
        producer.reload_clients(path)
        assert producer.wants("c84")


def test_a_changed_file_is_noticed(make: MakeProducer, file: Path) -> None:
    write(file, clients("c83"))
    producer = make(**{"clients.file": file})
    write(file, clients("c83", "acme"))
    wait_until(lambda: producer.wants("acme"), "the changed list")
    assert producer.wants("c83")


def test_a_file_that_cannot_be_used_leaves_the_list_in_use(make: MakeProducer, file: Path) -> None:
    write(file, clients("c83"))
    producer = make(log=lambda level, message: None, **{"clients.file": file, "clients.watch": False})
    write(file, "{")
    with pytest.raises(tel.ClientsError) as malformed:
        producer.reload_clients()
    assert str(file) in str(malformed.value)
    file.unlink()
    with pytest.raises(tel.IoError) as missing:
        producer.reload_clients()
    assert missing.value.code == 8
    assert str(file) in str(missing.value)
    assert producer.wants("c83")


def test_without_a_file_there_is_nothing_to_read_again(make: MakeProducer) -> None:
    producer = make("c83")
    with pytest.raises(tel.TelError) as refused:
        producer.reload_clients()
    assert str(refused.value)
    assert producer.wants("c83")


def test_a_path_with_a_nul_is_refused(make: MakeProducer) -> None:
    with pytest.raises(tel.ClientsError, match="NUL"):
        make().reload_clients("clients.json\0.bak")


def test_a_host_comes_up_without_its_list_and_recovers(
    make: MakeProducer, broker: str, client: str, file: Path
) -> None:
    messages = []
    producer = make(log=lambda level, message: messages.append((level, message)), **{"clients.file": file})
    assert not producer.wants(client)
    producer.submit_for(client, b"too early")
    producer.flush(30)
    assert producer.stats().unknown_client == 1
    wait_until(lambda: any(str(file) in message for _, message in messages), "a word about the missing list")
    assert all(3 <= level <= 7 for level, _ in messages)
    write(file, clients(client))
    wait_until(lambda: producer.wants(client), "the list that came late")
    producer.submit_for(client, b"in time")
    producer.flush(30)
    assert read(broker, client) == [b"in time"]


def test_lines_after_a_removal_go_nowhere(make: MakeProducer, broker: str, client: str) -> None:
    producer = make(client)
    producer.submit_for(client, b"before")
    producer.flush(30)
    producer.set_clients(clients())
    producer.submit_for(client, b"after")
    producer.flush(30)
    assert read(broker, client) == [b"before"]
    stats = producer.stats()
    assert (stats.delivered, stats.unknown_client, stats.residual) == (1, 1, 0)
