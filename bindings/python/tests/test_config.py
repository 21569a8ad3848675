"""Configurations: the three forms they come in, and what is said of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Dict

import pytest

import tel
from conftest import MakeProducer
from support import clients

GOOD: Dict[str, Any] = {"embedded_broker": True, "queue": {"bytes": 1 << 20}, "exit_timeout_ms": 1500}


def test_a_mapping_text_and_a_file_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "tel.json"
    file.write_text(json.dumps(GOOD))
    for config in (GOOD, MappingProxyType(GOOD), json.dumps(GOOD), file):
        tel.check_config(config)
        with tel.Producer(config, log=lambda level, message: None) as producer:
            assert producer.stats().submitted == 0


def test_nested_and_dotted_keys_are_the_same() -> None:
    tel.check_config({"embedded_broker": True, "queue.bytes": 1 << 20})
    tel.check_config({"embedded_broker": True, "queue": {"bytes": 1 << 20}})


def test_paths_may_stand_in_a_mapping(tmp_path: Path, make: MakeProducer) -> None:
    (tmp_path / "clients.json").write_text(json.dumps(clients("c83")))
    producer = make(**{"clients.file": tmp_path / "clients.json"})
    assert producer.wants("c83")


WRONG = {
    "an unknown key": ({**GOOD, "queue.byte": 1}, "queue.byte"),
    "a wrong type": ({**GOOD, "exit_timeout_ms": "soon"}, "exit_timeout_ms"),
    "a bad value": ({**GOOD, "queue": {"bytes": -1}}, "queue.bytes"),
    "an unknown engine property": ({"kafka": {"bootstrap.servers": "x", "no.such.thing": 1}}, "no.such.thing"),
    "a bad engine value": ({"kafka": {"bootstrap.servers": "x", "compression.codec": "tar"}}, "compression.codec"),
    "a refused engine property": ({"kafka": {"bootstrap.servers": "x", "transactional.id": "t"}}, "transactional.id"),
    "a missing address": ({"kafka": {}}, "bootstrap.servers"),
    "verification off unasked": (
        {"kafka": {"bootstrap.servers": "x", "enable.ssl.certificate.verification": False}},
        "insecure",
    ),
    "a key file that is not there": (
        {"kafka": {"bootstrap.servers": "x", "security.protocol": "ssl", "ssl.ca.location": "/nonexistent/ca.pem"}},
        "ssl.ca.location",
    ),
    "a spool": ({**GOOD, "spool": {"dir": "/nonexistent"}}, "not available yet"),
    "empty text": ("", ""),
    "no object": ("[]", ""),
    "broken JSON": ('{"embedded_broker": true', ""),
    "a path where text is wanted": ("/etc/tel/tel.json", ""),
}


@pytest.mark.parametrize("config, named", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_configuration_is_refused_by_name(config: Any, named: str) -> None:
    with pytest.raises(tel.ConfigError) as checked:
        tel.check_config(config)
    with pytest.raises(tel.ConfigError) as refused:
        tel.Producer(config)
    assert named in str(checked.value)
    assert str(checked.value), "an error without a reason"
    assert str(refused.value) == str(checked.value)
    assert refused.value.code == checked.value.code == 6


def test_secrets_stay_out_of_errors() -> None:
    with pytest.raises(tel.ConfigError) as refused:
        tel.check_config({"kafka": {"bootstrap.servers": "x", "sasl.password": ["hunter2"]}})
    assert "sasl.password" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_text_beyond_a_nul_is_not_overlooked() -> None:
    with pytest.raises(tel.ConfigError, match="NUL"):
        tel.check_config(json.dumps(GOOD) + "\0 and more")


def test_a_missing_configuration_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="tel.json"):
        tel.Producer(tmp_path / "tel.json")


@pytest.mark.parametrize("config", [None, 1, b"{}", ["embedded_broker"], PurePath])
def test_other_types_are_refused(config: Any) -> None:
    with pytest.raises(TypeError, match="configuration must be"):
        tel.Producer(config)


def test_a_log_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="log must be callable"):
        tel.Producer(GOOD, log="stderr")  # type: ignore[arg-type]
