"""The producer: lines in, and everything one can ask of it."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import warnings
import weakref
from types import TracebackType
from typing import Any, Dict, Optional, Type, Union

from . import _atexit, _log
from ._abi import Abi, TelOptions, TelStats
from ._library import library
from ._log import LogCallback
from ._text import Clients, Config, clients_text, config_text, exit_timeout_ms, milliseconds, path_text, to_bytes
from .errors import Forked, InternalError, TelError, error
from .stats import Stats

_OK = 0
_NO_LIMIT = -1
_REASON_SIZE = 4096
# Enough for the totals and some tens of clients at the first try.
_JSON_SIZE = 65536


class Producer:
    """Takes log lines and delivers each client's to its own Kafka topic.

    `config` is a mapping, JSON text (str), or the path of a JSON file (any os.PathLike). `log` is called with a syslog
    level (3 error .. 7 debug) and a message, from libtel's threads, hence at any moment and possibly several at once: it is
    to be quick, and must not call the producer. Without it messages go to standard error.

    Threads may share a producer. A forked child may not: there every call raises Forked, except close, which does
    nothing; the child makes its own. Close it, or use it in a `with` statement; what is left open at exit is flushed within
    `exit_timeout_ms`.
    """

    __slots__ = ("_lib", "_submit", "_submit_for", "_wants", "_handle", "_exit_timeout_ms", "_life", "__weakref__")

    def __init__(self, config: Config, log: Optional[LogCallback] = None) -> None:
        if log is not None and not callable(log):
            raise TypeError(f"log must be callable, not {type(log).__name__}")
        lib = library()
        text = config_text(config)
        log_number = 0 if log is None else _log.register(log)
        handle = _new(lib, text, log_number)
        life = _Life(lib, handle, log_number)
        # A call in progress holds a reference to self, so that this cannot free a handle in use. Not at exit: daemon
        # threads may still be in a call then, and libtel's exit handler needs no help.
        weakref.finalize(self, life.end).atexit = False  # type: ignore[misc]  # a property; typeshed knows no slot
        self._lib = lib
        # Bound here once: three attribute look-ups less for each line.
        self._submit = lib.submit
        self._submit_for = lib.submit_for
        self._wants = lib.wants
        self._handle = handle
        self._exit_timeout_ms = exit_timeout_ms(text)
        self._life = life
        _atexit.watch(self, log is not None)

    def submit(self, line: Union[bytes, str]) -> None:
        """Hands over "<client id> <log line>"; a copy is taken. Never blocks.

        Raises QueueFull, LineTooLong, Closed, Forked. Whether the line is well-formed and its client known shows later, in
        the statistics.
        """
        if type(line) is not bytes:
            line = to_bytes(line, "a line")
        code = self._submit(self._handle, line, len(line))
        if code:
            raise self._error(code)

    def try_submit(self, line: Union[bytes, str]) -> bool:
        """submit for hosts that want no exception: False where submit would raise a TelError."""
        if type(line) is not bytes:
            line = to_bytes(line, "a line")
        return not self._submit(self._handle, line, len(line))

    def submit_for(self, client: Union[bytes, str], line: Union[bytes, str]) -> None:
        """Hands over a line whose client the program knows by itself: no text in the line can change it."""
        if type(client) is not bytes:
            client = to_bytes(client, "a client id")
        if type(line) is not bytes:
            line = to_bytes(line, "a line")
        code = self._submit_for(self._handle, client, len(client), line, len(line))
        if code:
            raise self._error(code)

    def wants(self, client: Union[bytes, str]) -> bool:
        """Whether lines of this client are wanted now; if not, they need not even be formatted. False in a forked child."""
        if type(client) is not bytes:
            client = to_bytes(client, "a client id")
        return bool(self._wants(self._handle, client, len(client)))

    def reload_clients(self, path: "Optional[Union[str, os.PathLike[str]]]" = None) -> None:
        """Reads the client list again, from the configured file or from `path`, and swaps it whole.

        If it cannot, ClientsError or IoError says why, and the list in use stays.
        """
        reason = ctypes.create_string_buffer(_REASON_SIZE)
        name = None if path is None else path_text(path)
        self._check(self._lib.reload_clients(self._handle, name, reason, len(reason)), reason)

    def set_clients(self, clients: Clients) -> None:
        """Swaps the client list for this one, given as a mapping or as JSON text; the file is watched no more until the
        next reload_clients."""
        text = clients_text(clients)
        reason = ctypes.create_string_buffer(_REASON_SIZE)
        self._check(self._lib.set_clients(self._handle, text, len(text), reason, len(reason)), reason)

    def flush(self, timeout: Optional[float] = None) -> None:
        """Waits until every line submitted before has met its fate; raises Timeout after `timeout` seconds.

        None waits as long as it takes. Like any call into C it ends before Ctrl-C is looked at: with a broker that may
        be away, give a timeout.
        """
        self._check(self._lib.flush(self._handle, _NO_LIMIT if timeout is None else milliseconds(timeout)))

    def close(self, timeout: Optional[float] = None) -> None:
        """Takes no more lines, flushes, stops the threads; statistics stay readable.

        `timeout` is in seconds; None means the configured `exit_timeout_ms`. If lines are left when it is over, they are
        counted as failed and Timeout is raised; the producer is closed all the same. Does nothing the second time, and
        nothing in a forked child.
        """
        limit = self._exit_timeout_ms if timeout is None else milliseconds(timeout)
        if self._life.closed:
            return
        try:
            self._check(self._lib.producer_close(self._handle, limit))
        except Forked:
            return
        finally:
            self._life.close()

    def stats(self) -> Stats:
        """Every counter of this producer; exact when nothing moves, as after a flush or close."""
        out = TelStats()
        self._check(self._lib.get_stats(self._handle, ctypes.byref(out), ctypes.sizeof(out)))
        return Stats(**{name: getattr(out, name) for name, *_ in TelStats._fields_})

    def stats_json(self) -> Dict[str, Any]:
        """The whole picture, per client too."""
        size = _JSON_SIZE
        while True:
            buffer = ctypes.create_string_buffer(size)
            needed = self._lib.stats_json(self._handle, buffer, size)
            if 0 < needed < size:
                picture: Dict[str, Any] = json.loads(buffer.value)
                return picture
            if needed == 0:
                # No code comes with the text: the sized call says what is wrong.
                self.stats()
                raise InternalError("libtel has no statistics to show")
            # Clients may join between two calls, each with counters of its own.
            size = needed + needed // 4 + 1

    def __enter__(self) -> "Producer":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        problem: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            self.close()
        except TelError:
            # What went wrong in the body is the news; that lines are left, libtel has logged.
            if kind is None:
                raise

    def __reduce__(self) -> str:
        # A pickled handle would be an address of another process.
        raise TypeError("a Producer cannot be copied or pickled: each process makes its own")

    def _check(self, code: int, reason: Optional["ctypes.Array[ctypes.c_char]"] = None) -> None:
        if code != _OK:
            raise self._error(code, reason)

    def _error(self, code: int, reason: Optional["ctypes.Array[ctypes.c_char]"] = None) -> TelError:
        return _error(self._lib, code, reason)

    def _close_at_exit(self) -> None:
        try:
            self.close()
        except TelError:
            # Nobody is left to act on it, and libtel has logged it.
            pass


class _Life:
    """What outlives a Producer that was let go: its handle, to be freed, and its log callable, to be forgotten."""

    __slots__ = ("_lib", "_handle", "_log", "_process", "closed")

    def __init__(self, lib: Abi, handle: int, log: int) -> None:
        self._lib = lib
        self._handle = handle
        self._log = log
        self._process = os.getpid()
        self.closed = False

    def close(self) -> None:
        """After the C close. Forgetting the callable also undoes the cycle of one that refers to its producer."""
        self.closed = True
        _log.forget(self._log)

    def end(self) -> None:
        if os.getpid() != self._process:
            # The handle is the parent's.
            return
        if self.closed:
            self._free()
            return
        # Freeing closes first, which may take `exit_timeout_ms`. The garbage collector calls this in any thread, with any
        # lock held, in the log callable too: a thread of its own waits without holding up or waiting for anyone. It is no
        # daemon, so the interpreter's exit waits for it.
        try:
            threading.Thread(target=self._free, name="tel-free").start()
        except RuntimeError:
            # No more threads to be had.
            self._free()
        warnings.warn("a tel.Producer was let go without being closed", ResourceWarning)

    def _free(self) -> None:
        self._lib.producer_free(self._handle)
        _log.forget(self._log)


def check_config(config: Config) -> None:
    """Raises what Producer(config) would raise of this configuration, and starts nothing."""
    lib = library()
    reason = ctypes.create_string_buffer(_REASON_SIZE)
    code = lib.config_check(config_text(config), reason, len(reason))
    if code != _OK:
        raise _error(lib, code, reason)


def version() -> str:
    """The version of the libtel in use; `tel.__version__` is this package's."""
    found: bytes = library().version()
    return found.decode()


def _new(lib: Abi, config: bytes, log: int) -> int:
    options = TelOptions(size=ctypes.sizeof(TelOptions))
    if log:
        options.log = _log.trampoline
        options.opaque = log
    reason = ctypes.create_string_buffer(_REASON_SIZE)
    handle: Optional[int] = lib.producer_new(config, ctypes.byref(options), reason, len(reason))
    if handle:
        return handle
    _log.forget(log)
    # No code comes with a NULL. If it is the configuration, the check says the same with a code.
    code = lib.config_check(config, None, 0)
    raise _error(lib, code if code != _OK else InternalError.code, reason)


def _error(lib: Abi, code: int, reason: Optional["ctypes.Array[ctypes.c_char]"] = None) -> TelError:
    told = (reason.value if reason is not None else b"") or lib.strerror(code) or b"unknown error"
    return error(code, told.decode("utf-8", "replace"))
