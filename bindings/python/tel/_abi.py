"""The C interface, include/tel.h, in ctypes: structs, prototypes, and which calls give up the GIL.

Two views of one loaded library:

- `CDLL` releases the GIL around a call. It is right for whatever may wait (flush, close, reading a list) or take a lock
  inside libtel: were the GIL kept, a library thread that delivers a log message to Python would wait for it for ever.
- `PyDLL` keeps the GIL. It is right for submit and wants, which by contract never wait for anything and so keep no other
  Python thread waiting either. Giving the GIL up and taking it back is a good part of what such a short call costs, and a
  point where another thread may cut in: bench/submit_gil.py measures both ways.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable, List, Type

from .errors import IncompatibleLibrary

# TEL_ABI_VERSION of the tel.h these prototypes are written from.
ABI_VERSION = 1

LOG_FUNC = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class TelOptions(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("log", LOG_FUNC),
        ("opaque", ctypes.c_void_p),
    ]


class TelStats(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "submitted",
            "recovered",
            "delivered",
            "failed",
            "dropped_full",
            "dropped_too_long",
            "dropped_rate",
            "dropped_spool",
            "sampled_out",
            "unknown_client",
            "malformed",
            "spooled",
            "in_flight",
            "sanitized",
            "bytes_submitted",
            "bytes_delivered",
            "oldest_undelivered_ms",
            "last_delivery_unix_ms",
            "clients",
            "clients_rejected",
            "clients_revision",
        )
    ]


_HANDLE = ctypes.c_void_p
_TEXT = ctypes.c_char_p
_SIZE = ctypes.c_size_t


class Abi:
    """Every function of libtel that Python calls, with its prototype.

    Handles travel as plain integers. Bytes are passed without a copy: libtel copies what it keeps before it returns.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        keeps_gil = ctypes.PyDLL(library._name, handle=library._handle)
        # Asked first: an older library may lack what is looked up below. A newer one has all of it, and more.
        self.abi_version = _prototype(library, "tel_abi_version", ctypes.c_uint32, [])
        found = self.abi_version()
        if found < ABI_VERSION:
            raise IncompatibleLibrary(
                f"{library._name} has version {found} of the C interface, this package needs {ABI_VERSION} or later"
            )
        self.version = _prototype(library, "tel_version", _TEXT, [])
        self.strerror = _prototype(library, "tel_strerror", _TEXT, [ctypes.c_int])
        self.config_check = _prototype(library, "tel_config_check", ctypes.c_int, [_TEXT, _TEXT, _SIZE])
        self.producer_new = _prototype(
            library, "tel_producer_new", _HANDLE, [_TEXT, ctypes.POINTER(TelOptions), _TEXT, _SIZE]
        )
        self.submit = _prototype(keeps_gil, "tel_submit", ctypes.c_int, [_HANDLE, _TEXT, _SIZE])
        self.submit_for = _prototype(keeps_gil, "tel_submit_for", ctypes.c_int, [_HANDLE, _TEXT, _SIZE, _TEXT, _SIZE])
        self.wants = _prototype(keeps_gil, "tel_wants", ctypes.c_int, [_HANDLE, _TEXT, _SIZE])
        self.reload_clients = _prototype(
            library, "tel_reload_clients", ctypes.c_int, [_HANDLE, _TEXT, _TEXT, _SIZE]
        )
        self.set_clients = _prototype(
            library, "tel_set_clients", ctypes.c_int, [_HANDLE, _TEXT, _SIZE, _TEXT, _SIZE]
        )
        self.flush = _prototype(library, "tel_flush", ctypes.c_int, [_HANDLE, ctypes.c_int])
        self.get_stats = _prototype(
            library, "tel_get_stats", ctypes.c_int, [_HANDLE, ctypes.POINTER(TelStats), _SIZE]
        )
        self.stats_json = _prototype(library, "tel_stats_json", _SIZE, [_HANDLE, _TEXT, _SIZE])
        self.producer_close = _prototype(library, "tel_producer_close", ctypes.c_int, [_HANDLE, ctypes.c_int])
        self.producer_free = _prototype(library, "tel_producer_free", None, [_HANDLE])


def _prototype(library: ctypes.CDLL, name: str, result: Any, arguments: List[Type[Any]]) -> Callable[..., Any]:
    try:
        function = library[name]
    except AttributeError as problem:
        raise IncompatibleLibrary(f"{library._name} is not libtel, or an older one: {problem}") from None
    function.restype = result
    function.argtypes = arguments
    # Mypy sees a function pointer, callers a function: the class is an implementation detail of ctypes.
    typed: Callable[..., Any] = function
    return typed
