"""Wrong configurations are refused with file, key or line and reason, and nothing is started."""

import contextlib
import ctypes
import json
import os
import re
import socket
import stat
import subprocess
import unittest

import bad_configurations
import servers
from servers import TELD
from waiting import free_port, is_answered

# Of prctl(2): orphans become this process's children, and are seen.
PR_SET_CHILD_SUBREAPER = 36


def run(command, file):
    return subprocess.run(
        [TELD, command, "--config", file], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5
    )


class Configuration(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(servers.temporary_folder())
        self.port = free_port()
        self.file = self.folder / "teld.json"
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.addCleanup(ctypes.CDLL(None).prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def write(self, text):
        self.file.write_bytes(text)

    def test_the_right_one_that_the_wrong_ones_are_made_from_starts_everything(self):
        # What the other test looks for in vain is seen here.
        right = bad_configurations.good(self.folder, self.port)
        self.write(json.dumps(right).encode())
        (self.folder / "log").write_text("")
        checked = run("check", self.file)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ["log", "teld.json"], "check made something")

        teld = servers.Server(self.folder, "teld")
        self.addCleanup(teld.end)
        teld.spawn([TELD, "run", "--config", self.file])

        def made():
            is_kind = {"pipe": stat.S_ISFIFO, "stream": stat.S_ISSOCK, "datagram": stat.S_ISSOCK, "status": stat.S_ISSOCK}
            with contextlib.suppress(FileNotFoundError):
                there = all(kind(os.stat(self.folder / name).st_mode) for name, kind in is_kind.items())
                return there and (self.folder / "a-child-was-here").exists() and is_answered(self.port)

        teld.wait_until("all is started", made)
        self.assertEqual(stat.S_IMODE(os.stat(self.folder / "pipe").st_mode), 0o640)

    def test_each_of_the_wrong_ones_is_refused_and_starts_nothing(self):
        cases = bad_configurations.all_of(self.folder, self.port)
        self.assertGreaterEqual(len(cases), 100)
        self.assertEqual(len({case.text for case in cases}), len(cases), "two cases are the same")
        # What would open the port is told that it is taken, on standard error.
        self.enterContext(socket.create_server(("127.0.0.1", self.port)))
        for case in cases:
            self.write(case.text)
            for command in ["check", "run"]:
                with self.subTest(case=case, command=command):
                    self.refused(command, self.file, case.names)
        print(f"  {len(cases)} wrong configurations, each refused by check and by run")

    def test_a_file_that_cannot_be_read_is_refused(self):
        for command in ["check", "run"]:
            with self.subTest(command=command):
                self.refused(command, self.folder / "nowhere.json", "No such file")
                self.refused(command, self.folder, "directory")

    def refused(self, command, file, names):
        before = set(os.listdir(self.folder))
        # What one that is not refused makes is not held against the next.
        with self.only(before):
            self.is_refused(command, file, names, before)

    @contextlib.contextmanager
    def only(self, entries):
        """Removes what else is in the folder when this is left."""
        try:
            yield
        finally:
            for entry in set(os.listdir(self.folder)) - entries:
                os.remove(self.folder / entry)

    def is_refused(self, command, file, names, before):
        try:
            ended = run(command, file)
        except subprocess.TimeoutExpired:
            self.fail("it runs")
        self.assertEqual(ended.returncode, 78, f"says: {ended.stdout}{ended.stderr}")
        # One line that names the file, then key or place, then the reason; nothing of anything that was started.
        said = re.fullmatch(rf"teld: {re.escape(str(file))}: (\S.* \S.*)\n", ended.stderr)
        self.assertIsNotNone(said, f"says: {ended.stderr}")
        self.assertRegex(said[1], names)
        self.assertEqual(ended.stdout, "")
        self.assertEqual(set(os.listdir(self.folder)), before, "something was made")
        with self.assertRaises(ChildProcessError, msg="a child was started"):
            os.waitpid(-1, os.WNOHANG)

if __name__ == "__main__":
    unittest.main()
