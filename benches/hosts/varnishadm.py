"""A connection to varnishd's command line that stays."""

import subprocess
import sys


class Cli:
    def __init__(self, home):
        self.process = subprocess.Popen(["varnishadm", "-n", str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def use(self, name):
        # One command at a time: with a second one behind it, the answer is late by TCP's delayed acknowledgment, 40 ms.
        self.process.stdin.write(f"vcl.use {name}\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        # An empty line says that it is in use already.
        if said not in (f"VCL '{name}' now active\n", "\n"):
            sys.exit(f"varnishadm: vcl.use {name}: {said}")

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)
