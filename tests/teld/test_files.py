"""A file that is followed: over rotation, over truncation, and over the end of teld."""

import json
import os
import signal
import unittest

from case import TeldCase
from waiting import wait_for


class FollowedFile(TeldCase):
    def setUp(self):
        super().setUp()
        (self.client,) = self.topics(1)
        self.log, self.position = self.folder / "a.log", self.folder / "state" / "a.position"
        self.input = {"log": {"type": "file", "path": self.log, "follow": True, "position": self.position}}
        self.count = 0

    def append(self, count, file=None):
        """So many more lines, in several writes that do not end where lines do."""
        text = b"".join(b"%s %d\n" % (self.client.encode(), self.count + number) for number in range(count))
        self.count += count
        with open(file or self.log, "ab", buffering=0) as log:
            for start in range(0, len(text), 1000):
                log.write(text[start : start + 1000])

    def wait_until_read(self, teld, count):
        teld.wait_for_picture(f"{count} lines read", lambda now: now.inputs["log"]["lines"] >= count)

    def test_every_line_comes_once_over_renaming(self):
        teld = self.start(self.input, [self.client])
        self.append(1000)
        for round in range(3):
            self.wait_until_read(teld, self.count)
            self.append(500)
            old = self.log.rename(self.folder / f"a.log.{round}")
            # Its writer has not opened the new one yet.
            self.append(500, old)
            self.append(500)
        self.wait_until_read(teld, self.count)
        self.assertEqual(teld.end(), 0)
        self.assert_all_arrived(self.client, self.count)

    def test_every_line_comes_once_over_truncation(self):
        teld = self.start(self.input, [self.client])
        for _ in range(3):
            self.append(1000)
            # copytruncate loses what is written between its two steps: here nothing is.
            self.wait_until_read(teld, self.count)
            os.truncate(self.log, 0)
            self.append(100)
            self.wait_until_read(teld, self.count)
        self.assertEqual(teld.end(), 0)
        self.assert_all_arrived(self.client, self.count)

    def test_every_line_comes_once_over_an_end_in_order(self):
        teld = self.start(self.input, [self.client])
        # By the teld that runs.
        unread = 0
        for round in range(3):
            self.append(1000)
            with open(self.log, "ab") as log:
                # Its end comes when teld does not run.
                log.write(f"{self.client} {self.count}".encode())
            self.wait_until_read(teld, unread + 1000)
            self.assertEqual(teld.end(), 0)
            with open(self.log, "ab") as log:
                log.write(b"\n")
            self.count += 1
            self.append(10)
            unread = 11
            if round == 1:
                self.log.rename(self.folder / "a.log.1")
                self.append(10)
                unread += 10
            teld.start()
        self.wait_until_read(teld, unread)
        self.assertEqual(teld.end(), 0)
        self.assert_all_arrived(self.client, self.count)

    def test_every_line_comes_at_least_once_over_kill_9(self):
        teld = self.start(self.input, [self.client])
        for _ in range(3):
            self.append(1000)
            teld.wait_for_picture("some delivered", lambda now: now.total["delivered"] > 0)
            self.assertEqual(teld.end(signal.SIGKILL), -signal.SIGKILL)
            self.append(100)
            teld.start()
        # What is kept by now saves the next one from reading all again.
        teld.wait_until("the position is kept", self.position.exists)
        kept = json.loads(self.position.read_text())["offset"]
        self.assertGreater(kept, 0)
        teld.end(signal.SIGKILL)
        teld.start()
        self.append(1)
        every = set(range(self.count))
        wait_for("every line", lambda: {int(text) for text in self.lines(self.client)} == every)

    def test_from_the_end_leaves_out_what_was_there(self):
        self.append(100)
        self.input["log"]["from"] = "end"
        teld = self.start(self.input, [self.client])
        wait_for("it is open", lambda: self.is_open(teld))
        self.append(100)
        self.wait_until_read(teld, 100)
        self.assertEqual(teld.end(), 0)
        self.assertEqual([int(text) for text in self.lines(self.client)], list(range(100, 200)))

    def is_open(self, teld):
        descriptors = teld.as_process().folder / "fd"
        return any(os.readlink(descriptors / name) == str(self.log) for name in os.listdir(descriptors))


if __name__ == "__main__":
    unittest.main()
