"""Programs that end with a producer open: no line lost, no crash, no hang."""

from __future__ import annotations

import socket
import time
from typing import Iterator

import pytest

from support import PROGRAMS, assert_clean, read, run_program

LEAVE = PROGRAMS / "leave.py"
LINES = [b"%d" % number for number in range(100)]

WAYS = ["end", "sys.exit", "in-function", "cycle", "atexit", "threads", "daemons"]


@pytest.mark.parametrize("log", ["stderr", "callable"])
@pytest.mark.parametrize("way", WAYS)
def test_an_open_producer_delivers_at_exit(broker: str, client: str, way: str, log: str) -> None:
    done = run_program(LEAVE, broker, client, way, log)
    assert_clean(done)
    assert sorted(read(broker, client)) == sorted(LINES)


@pytest.mark.parametrize("log", ["stderr", "callable"])
def test_an_exception_that_ends_the_program_does_not_cost_its_lines(broker: str, client: str, log: str) -> None:
    done = run_program(LEAVE, broker, client, "exception", log)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1 and "KeyError: 'the program'" in done.stderr
    assert sorted(read(broker, client)) == sorted(LINES)


@pytest.fixture
def hung() -> Iterator[str]:
    """A broker that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield "127.0.0.1:%d" % server.getsockname()[1]


@pytest.mark.parametrize("log", ["stderr", "callable"])
@pytest.mark.parametrize("way", ["end", "daemons", "flushing"])
def test_a_hung_broker_does_not_hold_up_the_exit(hung: str, way: str, log: str) -> None:
    start = time.monotonic()
    done = run_program(LEAVE, hung, "c83", way, log)
    took = time.monotonic() - start
    assert_clean(done)
    # The program's own start, and its exit_timeout_ms of 500 once.
    assert took < 5, f"the exit took {took:.1f} s"
