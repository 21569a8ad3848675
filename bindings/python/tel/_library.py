"""Finding and loading libtel, once for the process and only when it is needed."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path
from typing import List, Tuple

from ._abi import Abi
from .errors import LibraryNotFound

SONAME = "libtel.so.0"
VARIABLE = "TEL_LIBRARY"


@functools.lru_cache(maxsize=None)
def library() -> Abi:
    """libtel. Loaded at first use rather than at import, so that importing works where only types or documents are wanted.

    A failure is not cached: a program may set TEL_LIBRARY and try again.
    """
    refused: List[str] = []
    for where, name in _places():
        try:
            loaded = ctypes.CDLL(name)
        except OSError as problem:
            refused.append(f"  {where}: {problem}")
        else:
            return Abi(loaded)
    raise LibraryNotFound(
        "libtel cannot be loaded. Tried:\n"
        + "\n".join(refused)
        + f"\nInstall libtel, or set {VARIABLE} to the path of {SONAME}."
    )


def _places() -> List[Tuple[str, str]]:
    """Where to look, first to last, each with the words that name it."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        # Whoever names a library wants that one: falling back to another would hide the mistake.
        return [(f"{VARIABLE}={chosen}", chosen)]
    packaged = str(Path(__file__).resolve().with_name(SONAME))
    return [
        (f"system loader ({SONAME})", SONAME),
        (f"inside this package ({packaged})", packaged),
    ]
