"""One exception for each error number of the C interface, all under TelError."""

from __future__ import annotations

from typing import Dict, Optional, Type


class TelError(Exception):
    """Whatever libtel refuses. `code` is the number of the C interface, fixed for ever; -1 where no library was reached."""

    code: int = -1

    def __init__(self, message: str, code: Optional[int] = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class InvalidArgument(TelError):
    """An argument the C interface does not take; nothing was submitted."""

    code = 1


class QueueFull(TelError):
    """The memory for lines is used up; the line is dropped and counted as `dropped_full`. Submit it again later or let it go."""

    code = 2


class LineTooLong(TelError):
    """The line exceeds `queue.max_line_bytes`; it is dropped and counted as `dropped_too_long`."""

    code = 3


class Forked(TelError):
    """The producer belongs to the process this one was forked from. Make a new one here."""

    code = 4


class Closed(TelError):
    """The producer takes no more lines."""

    code = 5


class ConfigError(TelError):
    """The configuration is wrong; the message names the key."""

    code = 6


class ClientsError(TelError):
    """The client list is not one; the list in use stays as it was."""

    code = 7


class IoError(TelError):
    """A file could not be read."""

    code = 8


class Timeout(TelError):
    """The time allowed ran out first."""

    code = 9


class InternalError(TelError):
    """A defect of libtel, contained at its boundary."""

    code = 10


class LibraryNotFound(TelError):
    """libtel could not be loaded; the message lists every place tried."""


class IncompatibleLibrary(TelError):
    """What was loaded is not libtel, or an older one than this package needs."""


_BY_CODE: Dict[int, Type[TelError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        QueueFull,
        LineTooLong,
        Forked,
        Closed,
        ConfigError,
        ClientsError,
        IoError,
        Timeout,
        InternalError,
    )
}


def error(code: int, message: str) -> TelError:
    """The exception for a code. Numbers are only ever appended: one that is not known here comes as a plain TelError."""
    return _BY_CODE.get(code, TelError)(message, code)
