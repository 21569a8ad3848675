"""A connection to varnishd's command line that stays."""

import subprocess
import sys


class Cli:
    def __init__(self, home):
        self.process = subprocess.Popen(["varnishadm", "-n", str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def use(self, name):
        # What it says is not told from the end of what it says, but by the next command's answer.
        self.process.stdin.write(f"vcl.use {name}\nping\n")
        self.process.stdin.flush()
        said = ""
        while not (line := self.process.stdout.readline()).startswith("PONG"):
            said += line
            if not line or "No VCL" in said:
                sys.exit(f"varnishadm: vcl.use {name}: {said}")

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)
