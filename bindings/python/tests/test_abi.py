"""The package against include/tel.h: a name, number or field that differs is memory read wrongly."""

from __future__ import annotations

import ctypes
import dataclasses
import re

import pytest

import tel
from support import ROOT
from tel import _abi, errors

HEADER = ROOT / "include" / "tel.h"


@pytest.fixture(scope="module")
def header() -> str:
    text = HEADER.read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"//[^\n]*", "", text)


def test_the_version_of_the_interface_is_the_headers(header: str) -> None:
    found = re.search(r"#define\s+TEL_ABI_VERSION\s+(\d+)", header)
    assert found and int(found[1]) == _abi.ABI_VERSION


def test_the_statistics_have_the_headers_fields_in_its_order(header: str) -> None:
    body = re.search(r"struct tel_stats\s*\{(.*?)\}", header, flags=re.S)
    assert body
    fields = re.findall(r"uint64_t\s+([^;]+);", body[1])
    names = [name.strip() for line in fields for name in line.split(",")]
    assert [name for name, *_ in _abi.TelStats._fields_] == names
    assert [field.name for field in dataclasses.fields(tel.Stats)] == names
    assert ctypes.sizeof(_abi.TelStats) == 8 * len(names)


def test_the_options_have_the_headers_fields_in_its_order(header: str) -> None:
    body = re.search(r"struct tel_options\s*\{(.*?)\}\s*tel_options", header, flags=re.S)
    assert body
    members = [re.sub(r"\(\*(\w+)\)\s*\(.*\)", r"\1", member, flags=re.S) for member in body[1].split(";")]
    names = [member.split()[-1].lstrip("*") for member in members if member.strip()]
    assert [name for name, *_ in _abi.TelOptions._fields_] == names


def test_every_error_number_of_the_header_has_its_exception(header: str) -> None:
    body = re.search(r"enum[^{;]*\{([^}]*TEL_ERR_INVALID[^}]*)\}", header)
    assert body
    number, numbers = -1, {}
    for entry in filter(None, (part.strip() for part in body[1].split(","))):
        name, _, value = (part.strip() for part in entry.partition("="))
        number = int(value) if value else number + 1
        numbers[name] = number
    assert numbers.pop("TEL_OK") == 0
    kinds = {name: errors._BY_CODE[value].__name__ for name, value in numbers.items()}
    assert kinds == {
        "TEL_ERR_INVALID": "InvalidArgument",
        "TEL_ERR_FULL": "QueueFull",
        "TEL_ERR_TOO_LONG": "LineTooLong",
        "TEL_ERR_FORKED": "Forked",
        "TEL_ERR_CLOSED": "Closed",
        "TEL_ERR_CONFIG": "ConfigError",
        "TEL_ERR_CLIENTS": "ClientsError",
        "TEL_ERR_IO": "IoError",
        "TEL_ERR_TIMEOUT": "Timeout",
        "TEL_ERR_INTERNAL": "InternalError",
    }


def test_the_version_is_the_packages() -> None:
    assert tel.version() == tel.__version__


def test_an_error_number_of_a_newer_library_is_a_plain_error() -> None:
    problem = errors.error(4711, "news")
    assert type(problem) is tel.TelError and problem.code == 4711 and str(problem) == "news"
