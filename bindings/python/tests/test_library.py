"""Finding and loading libtel."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest

import tel
from support import PROGRAMS, assert_clean, run_program
from tel import _abi, _library

LOADS = PROGRAMS / "load.py"


def test_the_named_library_is_loaded() -> None:
    done = run_program(LOADS)
    assert_clean(done)
    assert done.stdout.strip() == tel.version()


@pytest.mark.parametrize("value", ["/nonexistent/libtel.so", "/dev/null"])
def test_a_named_library_that_cannot_be_loaded_is_an_error_that_names_it(value: str) -> None:
    done = run_program(LOADS, TEL_LIBRARY=value)
    assert done.returncode == 1
    assert "tel.errors.LibraryNotFound: libtel cannot be loaded" in done.stderr
    assert f"TEL_LIBRARY={value}: " in done.stderr
    # Nothing else is tried when one is named.
    assert "system loader" not in done.stderr


def test_without_a_name_every_place_tried_is_listed(tmp_path: Path) -> None:
    done = run_program(LOADS, TEL_LIBRARY="", LD_LIBRARY_PATH=str(tmp_path))
    if done.returncode == 0:
        # A libtel is installed on this machine, and rightly found.
        assert done.stdout.strip()
        return
    packaged = Path(tel.__file__).with_name("libtel.so.0")
    assert f"system loader (libtel.so.0): " in done.stderr
    assert f"inside this package ({packaged}): " in done.stderr
    assert "set TEL_LIBRARY" in done.stderr


def test_the_system_loader_finds_the_library_by_its_soname(tmp_path: Path) -> None:
    (tmp_path / "libtel.so.0").symlink_to(Path(os.environ["TEL_LIBRARY"]).resolve())
    done = run_program(LOADS, TEL_LIBRARY="", LD_LIBRARY_PATH=str(tmp_path))
    assert_clean(done)


def test_a_library_inside_the_package_is_found(tmp_path: Path) -> None:
    # A copy of the package, so that the installed one stays as it is.
    shutil.copytree(Path(tel.__file__).parent, tmp_path / "tel")
    (tmp_path / "tel" / "libtel.so.0").symlink_to(Path(os.environ["TEL_LIBRARY"]).resolve())
    done = run_program(LOADS, TEL_LIBRARY="", PYTHONPATH=str(tmp_path))
    assert_clean(done)
    assert done.stdout.strip() == tel.version()


def test_another_library_is_told_from_libtel() -> None:
    done = run_program(LOADS, TEL_LIBRARY="libc.so.6")
    assert done.returncode == 1
    assert "tel.errors.IncompatibleLibrary: libc.so.6 is not libtel" in done.stderr


def test_an_older_interface_is_refused_and_a_newer_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    load = _library.library.__wrapped__
    monkeypatch.setattr(_abi, "ABI_VERSION", 4711)
    with pytest.raises(tel.IncompatibleLibrary, match="needs 4711 or later"):
        load()
    monkeypatch.setattr(_abi, "ABI_VERSION", 0)
    assert load().version().decode() == tel.version()


def test_importing_needs_no_library() -> None:
    done = run_program(LOADS, "import-only", TEL_LIBRARY="/nonexistent/libtel.so")
    assert_clean(done)


def test_errors_travel_between_processes() -> None:
    problem = pickle.loads(pickle.dumps(tel.TelError("news", 4711)))
    assert type(problem) is tel.TelError and problem.code == 4711 and str(problem) == "news"
    full = pickle.loads(pickle.dumps(tel.QueueFull("full")))
    assert type(full) is tel.QueueFull and full.code == 2
