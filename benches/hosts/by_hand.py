"""The peers of tel.access_log: a small VMOD that writes the same line with snprintf, or the least of one."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "vmod_by_hand"
TOOLS = "pkg-config", "cc"


def of_varnish(*what):
    return subprocess.run(["pkg-config", *what, "varnishapi"], check=True, capture_output=True, text=True).stdout.split()


def build(folder):
    """The module's path, in the folder."""
    module = folder / "libvmod_by_hand.so"
    (folder / "config.h").touch()
    subprocess.run([sys.executable, *of_varnish("--variable=vmodtool"), "-o", "vcc_if", SOURCE / "vmod_by_hand.vcc"], check=True, cwd=folder)
    subprocess.run(["cc", "-O2", "-fPIC", "-shared", f"-I{folder}", *of_varnish("--cflags"), "-o", module, SOURCE / "vmod_by_hand.c",
                    folder / "vcc_if.c"], check=True)
    return module
