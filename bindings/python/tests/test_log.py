"""Log messages in Python."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

import tel
from conftest import MakeProducer
from support import read, wait_until


def test_messages_arrive_with_a_level_and_from_another_thread_or_this(make: MakeProducer, tmp_path: Path) -> None:
    seen: List[Tuple[int, str]] = []
    make(log=lambda level, message: seen.append((level, message)), **{"clients.file": tmp_path / "none.json"})
    wait_until(lambda: any("none.json" in message for _, message in seen), "a word about the missing list")
    assert all(isinstance(message, str) and 3 <= level <= 7 for level, message in seen)


def test_producers_have_logs_of_their_own(make: MakeProducer, tmp_path: Path) -> None:
    logs: Dict[str, List[str]] = {"one": [], "two": []}
    for name, log in logs.items():
        make(log=lambda level, message, log=log: log.append(message), **{"clients.file": tmp_path / f"{name}.json"})
    for name, log in logs.items():
        wait_until(lambda: any(f"{name}.json" in message for message in log), f"the log of {name}")
    assert not any("two.json" in message for message in logs["one"])
    assert not any("one.json" in message for message in logs["two"])


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_exception_in_the_callable_stays_in_python(
    make: MakeProducer, broker: str, client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    seen: List[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: seen.append(problem.exc_type))

    def log(level: int, message: str) -> None:
        raise kind("in the log callable")

    producer = make(log=log, **{"clients.file": tmp_path / "none.json"})
    wait_until(lambda: bool(seen), "the exception")
    assert set(seen) == {kind}
    producer.set_clients({"clients": [{"id": client}]})
    producer.submit_for(client, b"goes on")
    producer.flush(30)
    assert read(broker, client) == [b"goes on"]
    producer.close(30)


def test_no_message_comes_after_the_close(make: MakeProducer, nowhere: Dict[str, Any]) -> None:
    closed = threading.Event()
    late: List[str] = []

    def log(level: int, message: str) -> None:
        if closed.is_set():
            late.append(message)

    producer = make("c83", kafka=nowhere, log=log)
    producer.submit(b"c83 x")
    with pytest.raises(tel.Timeout):
        producer.close(0.2)
    closed.set()
    # A condition that must not come true cannot be awaited; some refused connections' time is given to it.
    threading.Event().wait(0.5)
    assert late == []
