"""examples/python, run as a reader would run them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

from support import HERE, PATIENCE, ROOT, assert_clean, clients, read, run_program, wait_until

EXAMPLES = ROOT / "examples" / "python"


@pytest.fixture
def config(tmp_path: Path, broker: str, client: str) -> Path:
    list_file = tmp_path / "clients.json"
    list_file.write_text(json.dumps(clients(client)))
    file = tmp_path / "tel.json"
    kafka = {"bootstrap.servers": broker, "queue.buffering.max.ms": 20}
    file.write_text(json.dumps({"kafka": kafka, "clients.file": str(list_file), "queue.max_line_bytes": 1024}))
    return file


def test_submit_file_delivers_a_file(config: Path, tmp_path: Path, broker: str, client: str) -> None:
    file = tmp_path / "access.log"
    # The last line has no newline; one client has no service.
    file.write_text("\n".join([f"{client} {number}" for number in range(1000)] + ["stranger x", f"{client} last"]))
    done = run_program(EXAMPLES / "submit_file.py", str(config), str(file))
    assert_clean(done)
    assert sorted(read(broker, client)) == sorted([b"%d" % number for number in range(1000)] + [b"last"])
    totals = dict(line.rsplit(None, 1) for line in done.stdout.splitlines())
    assert totals["submitted"] == "1,002" and totals["delivered"] == "1,001" and totals["unknown_client"] == "1"
    assert totals["unaccounted for"] == "0"


def test_submit_file_takes_standard_input_for_one_client(config: Path, broker: str, client: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "submit_file.py"), str(config), "--client", client],
        input=b"GET /\n\xff\n",
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(read(broker, client)) == [b"GET /", b"\xff"]


def test_submit_file_fails_for_a_line_too_long(config: Path, tmp_path: Path, broker: str, client: str) -> None:
    file = tmp_path / "access.log"
    file.write_text(f"{client} {'x' * 2000}\n{client} short\n")
    done = run_program(EXAMPLES / "submit_file.py", str(config), str(file))
    assert done.returncode == 1
    assert "dropped_too_long" in done.stdout
    assert read(broker, client) == [b"short"]


def test_submit_file_says_what_is_wrong_with_its_arguments(config: Path, tmp_path: Path) -> None:
    done = run_program(EXAMPLES / "submit_file.py", str(config), str(tmp_path / "none.log"))
    assert done.returncode == 1 and "none.log" in done.stderr and "Traceback" not in done.stderr
    config.write_text('{"kafka": {}}')
    done = run_program(EXAMPLES / "submit_file.py", str(config))
    assert done.returncode == 1 and "bootstrap.servers" in done.stderr and "Traceback" not in done.stderr


def test_the_readmes_first_program_does_what_it_says(tmp_path: Path) -> None:
    readme = (HERE.parent / "README.md").read_text()
    found = re.search(r"```python\n(import tel\n.*?)```", readme, flags=re.S)
    assert found
    program = tmp_path / "first.py"
    program.write_text(found[1])
    done = run_program(program)
    assert_clean(done)
    assert done.stdout == "2 1 0\n"


@pytest.fixture
def tail(config: Path, tmp_path: Path, client: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "tail_to_client.py"), str(config), client, str(tmp_path / "app.log"), "--from-start"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def test_tail_follows_a_file_over_its_rotations(
    tail: "subprocess.Popen[str]", tmp_path: Path, broker: str, client: str
) -> None:
    file = tmp_path / "app.log"

    def arrived(*lines: bytes) -> None:
        wait_until(lambda: sorted(read(broker, client)) == sorted(lines), f"{lines}")

    file.write_bytes(b"one\ntw")
    arrived(b"one")
    with file.open("ab") as more:
        more.write(b"o\n")
    arrived(b"one", b"two")
    with file.open("ab") as more:
        more.write(b"three\n")
    os.rename(file, tmp_path / "app.log.1")
    file.write_bytes(b"four\n")
    arrived(b"one", b"two", b"three", b"four")
    file.write_bytes(b"")
    with file.open("ab") as more:
        more.write(b"5\n")
    arrived(b"one", b"two", b"three", b"four", b"5")
    with file.open("ab") as more:
        more.write(b"other-client last\n")
    tail.send_signal(signal.SIGTERM)
    out, _ = tail.communicate(timeout=PATIENCE)
    assert tail.returncode == 0
    assert out.strip() == "delivered 6, skipped 0, refused 0, not delivered 0"
    assert read(broker, client).count(b"other-client last") == 1
