"""What callers pass, as the bytes libtel takes."""

from __future__ import annotations

import json
import math
import os
from typing import Any, Mapping, Union

from .errors import ClientsError, ConfigError

Config = Union[Mapping[str, Any], str, "os.PathLike[str]"]
Clients = Union[Mapping[str, Any], str, bytes]

_MAX_C_INT = 2**31 - 1


def to_bytes(value: object, what: str) -> bytes:
    """A line or a client id as bytes.

    Text is UTF-8, with surrogateescape: what Python decoded from bytes that are no UTF-8 (file names, environment, files
    opened so) goes out as the same bytes. bytearray and memoryview are refused: a buffer someone may be filling is not a
    line, and `bytes(buffer)` says in the caller's code that a copy is made.
    """
    if isinstance(value, str):
        return str.encode(value, "utf-8", "surrogateescape")
    if isinstance(value, bytes):
        # A subclass may lie about its length, and C believes it: take the bytes themselves.
        return bytes(memoryview(value))
    raise TypeError(f"{what} must be bytes or str, not {type(value).__name__}")


def config_text(config: Config) -> bytes:
    """A configuration as JSON text: a mapping is written out, a string is JSON already, a path is read."""
    if isinstance(config, Mapping):
        text = _dumps(config)
    elif isinstance(config, str):
        text = config.encode("utf-8", "surrogateescape")
    elif isinstance(config, os.PathLike):
        with open(config, "rb") as file:
            text = file.read()
    else:
        raise TypeError(
            "the configuration must be a mapping, JSON text or a path (os.PathLike), "
            f"not {type(config).__name__}"
        )
    # C takes the text up to its first NUL and would say nothing of the rest.
    if b"\0" in text:
        raise ConfigError("the configuration has a NUL byte in it")
    return text


def clients_text(clients: Clients) -> bytes:
    if isinstance(clients, Mapping):
        return _dumps(clients)
    if isinstance(clients, (str, bytes)):
        return to_bytes(clients, "the client list")
    raise TypeError(f"the client list must be a mapping or JSON text, not {type(clients).__name__}")


def path_text(path: Union[str, "os.PathLike[str]"]) -> bytes:
    text = os.fsencode(path)
    if b"\0" in text:
        raise ClientsError("the path of the client list has a NUL byte in it")
    return text


def exit_timeout_ms(config: bytes) -> int:
    """`exit_timeout_ms` of a configuration that libtel has accepted."""
    value = json.loads(config).get("exit_timeout_ms", 2000)
    return min(int(value), _MAX_C_INT)


def milliseconds(seconds: float) -> int:
    """A timeout in C's unit, rounded up: a little time is not none."""
    if not seconds >= 0:
        raise ValueError(f"a timeout is 0 or more seconds, not {seconds}")
    return _MAX_C_INT if seconds > _MAX_C_INT / 1000 else math.ceil(seconds * 1000)


def _dumps(value: Mapping[str, Any]) -> bytes:
    # Surrogates stand as \udcXX in ASCII JSON, which is no valid JSON string to anyone else; as bytes they are what was meant.
    return json.dumps(value, allow_nan=False, default=_plain, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _plain(value: object) -> object:
    """Paths and mappings of other kinds, which json does not know."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
