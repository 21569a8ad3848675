"""libtel beside another librdkafka and other users of OpenSSL, in one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import PROGRAMS, assert_clean, create_topics, read, run_program


@pytest.mark.parametrize("first", ["tel", "confluent_kafka"])
def test_each_does_its_work_whoever_is_loaded_first(broker: str, client: str, first: str, tmp_path: Path) -> None:
    theirs = f"{client}-confluent"
    create_topics(broker, [theirs])
    done = run_program(PROGRAMS / "neighbours.py", first, broker, client, theirs, str(tmp_path))
    assert_clean(done)
    assert sorted(read(broker, client)) == sorted(b"tel %d" % number for number in range(5000))
    assert sorted(read(broker, theirs)) == sorted(b"confluent %d" % number for number in range(5000))
    # The program checks its TLS by itself and says what it has seen.
    assert "tls: python 20, tel spoke Kafka" in done.stdout
