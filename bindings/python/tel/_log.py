"""Log messages from libtel's threads to Python callables."""

from __future__ import annotations

import itertools
from typing import Callable, Dict, Optional

from ._abi import LOG_FUNC

LogCallback = Callable[[int, str], None]

# One C function serves all producers and is never freed, so that no library thread can ever call into freed memory; the
# opaque value says which callable is meant. A message that comes after its callable is gone is dropped.
# Single dictionary operations need no lock, and a lock held by another thread at a fork would stay locked in the child.
_callables: Dict[int, LogCallback] = {}
_numbers = itertools.count(1)


def register(callback: LogCallback) -> int:
    """Keeps the callable until `forget`. The number goes to libtel as the opaque value; it is never 0, ctypes' None."""
    number = next(_numbers)
    _callables[number] = callback
    return number


def forget(number: int) -> None:
    _callables.pop(number, None)


def _deliver(level: int, message: Optional[bytes], opaque: Optional[int]) -> None:
    callback = _callables.get(opaque or 0)
    if callback is not None:
        callback(level, (message or b"").decode("utf-8", "replace"))


# An exception ends here: ctypes hands it to sys.unraisablehook and returns to C as from any other call.
trampoline = LOG_FUNC(_deliver)
