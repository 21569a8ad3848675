"""Producers still open when the process ends.

libtel's own exit handler flushes what is left within `exit_timeout_ms`. Two cases are beyond it, and are closed from here:

- A producer with a Python log callable. C exit handlers run when the interpreter is gone, and a library thread that calls
  into a gone interpreter takes the process with it. Its threads have to stop while Python is still there.
- A producer made in a child of multiprocessing. Such a child ends in os._exit, which runs no C exit handler.

A child made by os.fork that ends in os._exit by itself runs neither: it closes its producers, or loses what they hold.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import weakref
from typing import Protocol


class Producer(Protocol):
    """What is to be known of one here."""

    def _close_at_exit(self) -> None: ...


_all: "weakref.WeakSet[Producer]" = weakref.WeakSet()
_with_callable: "weakref.WeakSet[Producer]" = weakref.WeakSet()
# The process whose multiprocessing exit calls _close_all; a child of it inherits the number and not the call.
_registered_in = 0


def watch(producer: Producer, has_callable: bool) -> None:
    global _registered_in
    _all.add(producer)
    if has_callable:
        _with_callable.add(producer)
    if multiprocessing.parent_process() is not None and _registered_in != os.getpid():
        from multiprocessing.util import Finalize

        # After everything else, multiprocessing's own queues (-5) included: those may still bring lines.
        Finalize(None, _close, args=(_all,), exitpriority=-100)
        _registered_in = os.getpid()


def _close(producers: "weakref.WeakSet[Producer]") -> None:
    for producer in list(producers):
        producer._close_at_exit()


def _close_with_callable() -> None:
    # A library thread with a last message needs the GIL before the close is over, and daemon threads may be at it for all
    # they are worth: with shorter turns it gets there in time.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    try:
        _close(_with_callable)
    finally:
        sys.setswitchinterval(usual)


# Registered at import, hence called late: the program's own exit functions, which may submit, come first.
atexit.register(_close_with_callable)
