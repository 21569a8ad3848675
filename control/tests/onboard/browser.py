"""Chromium in the panel, as a client uses it."""

import json
import os
import subprocess
from pathlib import Path

from system import Failed

HERE = Path(__file__).resolve().parent

# What the panel calls the steps.
TITLES = {
    "Create the topic": "topic",
    "Give access rights": "acls",
    "Put it on the client list": "list",
    "Update every edge": "edges",
}


class Browser:
    """One Chromium; each client has a window of its own, without the cookies of the one before. Times are seconds since 1970."""

    def __init__(self, modules, log):
        self.process = subprocess.Popen(
            ["node", HERE / "browser.js"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
            env={**os.environ, "NODE_PATH": str(modules)},
        )
        self.ask("start")

    def ask(self, what, **more):
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        answer = json.loads(answer) if answer else {"error": f"{what}: the browser has ended"}
        if "error" in answer:
            raise Failed(f"{answer['error']}\nthe page says:\n{answer.get('page')}")
        return answer

    def sign_in(self, url, token):
        """The values of the session's cookies."""
        return self.ask("signIn", url=url, token=token)["cookies"]

    def subscribe(self):
        """Clicks; when that was."""
        return self.ask("subscribe")["at"] / 1000

    def await_active(self):
        """Waits until the panel shows that the service is there; when it did first."""
        return self.ask("awaitActive")["at"] / 1000

    def download(self, to):
        """Clicks on the download; when that was, and when all of it was there."""
        answer = self.ask("download", to=str(to))
        return answer["clicked"] / 1000, answer["at"] / 1000

    def progress(self):
        """For each step the times at which the panel changed what it shows, and whether that was done then."""
        steps = self.ask("progress")["steps"]
        return {
            TITLES[title]: [(change["at"] / 1000, change["isDone"]) for change in changes]
            for title, changes in steps.items()
            if title in TITLES
        }

    def end(self):
        """What pages complained about."""
        try:
            return self.ask("end")["wrong"]
        finally:
            self.process.stdin.close()
            self.process.wait(20)
