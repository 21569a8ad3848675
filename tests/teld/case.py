"""What tests of teld's behaviour share."""

import contextlib
import json
import subprocess
import sys
import unittest

import servers
from servers import PROGRAMS, Teld


def emit(client, *more):
    """An input whose child prints a line each millisecond."""
    return {"type": "exec", "command": [sys.executable, str(PROGRAMS / "emit.py"), client, *more]}


def inputs_at(places, **more):
    """An input for each kind (fifo, stream, datagram) at its place."""
    return {
        kind: {"type": "fifo", "path": path, **more}
        if kind == "fifo"
        else {"type": "unix", "socket": kind, "path": path, **more}
        for kind, path in places.items()
    }


class TeldCase(unittest.TestCase):
    """Each test has a folder and topics of its own."""

    def setUp(self):
        self.kafka = servers.kafka()
        self.folder = self.enterContext(servers.temporary_folder())

    def topics(self, count):
        return self.kafka.empty(count)

    def start(self, inputs, clients, **more):
        return self.enterContext(Teld(self.folder, inputs, clients=clients, **more))

    def lines(self, client):
        return self.kafka.read([client])[client]

    def flood(self, kind, path, client, *more):
        """A writer of numbered lines, ended by `written`."""
        command = [sys.executable, PROGRAMS / "flood.py", kind, path, client, *more]
        writer = self.enterContext(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        self.addCleanup(writer.kill)
        return writer

    def written(self, writer):
        """What the writer says, told to end if it has not."""
        with contextlib.suppress(ProcessLookupError):
            writer.terminate()
        out, _ = writer.communicate(timeout=30)
        return json.loads(out)

    def assert_all_arrived(self, client, count):
        """Lines 0 to count - 1, each once and in order."""
        numbers = [int(text.split()[0]) for text in self.lines(client)]
        if numbers != list(range(count)):
            missing = sorted(set(range(count)) - set(numbers))
            self.fail(f"{len(numbers)} of {count} lines; missing {missing[:20]}; twice {len(numbers) - len(set(numbers))}")
