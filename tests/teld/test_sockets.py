"""Unix sockets and their writers, and where in a line the client is found."""

import contextlib
import json
import resource
import socket
import subprocess
import unittest

from case import TeldCase
from servers import connect, write_once


class Sockets(TeldCase):
    def test_hundreds_of_connections_at_once_keep_their_lines_apart(self):
        clients = self.topics(4)
        path = self.folder / "a.sock"
        teld = self.start({"a": {"type": "unix", "path": path}}, clients)
        connections = [connect(path) for _ in range(300)]
        teld.wait_for_picture("all are connected", lambda now: now.inputs["a"]["writers"] == 300)
        texts = [
            b"".join(b"%s %d-%d\n" % (clients[number % 4].encode(), number, line) for line in range(20))
            for number in range(300)
        ]
        # In pieces that end within lines, each connection in turn.
        for start in range(0, max(map(len, texts)), 77):
            for connection, text in zip(connections, texts):
                connection.sendall(text[start : start + 77])
        for connection in connections:
            connection.close()
        teld.wait_for_delivered(300 * 20)
        found = self.kafka.read(clients)
        for index, client in enumerate(clients):
            expected = [b"%d-%d" % (number, line) for number in range(index, 300, 4) for line in range(20)]
            self.assertEqual(sorted(found[client]), sorted(expected))
        teld.wait_for_picture("all are gone", lambda now: now.inputs["a"]["writers"] == 0)

    def test_more_connections_than_it_takes_at_a_time_wait_their_turn(self):
        (client,) = self.topics(1)
        path = self.folder / "a.sock"
        teld = self.start({"a": {"type": "unix", "path": path}}, [client])
        most = 1000
        with contextlib.ExitStack() as stack:
            self.raise_descriptor_limit(2 * most)
            connections = [stack.enter_context(connect(path)) for _ in range(most + 100)]
            teld.wait_for_picture("so many are in", lambda now: now.inputs["a"]["writers"] == most)
            for number, connection in enumerate(connections):
                connection.sendall(b"%s %d\n" % (client.encode(), number))
        teld.wait_for_delivered(most + 100)
        self.assertEqual(sorted(map(int, self.lines(client))), list(range(most + 100)))

    def raise_descriptor_limit(self, wanted):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))

    def test_what_logger_writes_arrives_without_its_header(self):
        datagram, stream = self.topics(2)
        inputs = {
            kind: {"type": "unix", "path": self.folder / kind, "socket": kind, "header": "syslog"}
            for kind in ("datagram", "stream")
        }
        teld = self.start(inputs, [datagram, stream])
        connect(self.folder / "datagram", socket.SOCK_DGRAM).close()
        connect(self.folder / "stream").close()
        forms = [["--rfc3164"], ["--rfc5424"], ["--rfc5424=notime,nohost"], ["-i", "-t", "cdn"], ["-p", "local7.info"]]
        for kind, client in [("datagram", datagram), ("stream", stream)]:
            for number, form in enumerate(forms):
                text = "".join(f"{client} {number}-{line} GET /a: b [c]\n" for line in range(20))
                subprocess.run(["logger", "-u", self.folder / kind, *form], input=text, text=True, check=True)
        teld.wait_for_delivered(2 * 20 * len(forms))
        expected = sorted(f"{number}-{line} GET /a: b [c]".encode() for number in range(len(forms)) for line in range(20))
        self.assertEqual(sorted(self.lines(datagram)), expected)
        self.assertEqual(sorted(self.lines(stream)), expected)


class ClientRules(TeldCase):
    def test_the_client_is_found_where_the_rule_says(self):
        word, field, nested, fixed = self.topics(4)
        rules = {
            "word": ({"word": 3}, word, f"GET /a {word} 200"),
            "field": ({"json": "client"}, field, json.dumps({"url": "/a", "client": field, "x": {"client": "no"}})),
            "nested": ({"json": "/cdn/id"}, nested, json.dumps({"id": "no", "cdn": {"a": [1], "id": nested}})),
            "fixed": ({"fixed": fixed}, fixed, "whatever it says"),
        }
        inputs = {name: {"type": "fifo", "path": self.folder / name, "client": rule} for name, (rule, _, _) in rules.items()}
        teld = self.start(inputs, [word, field, nested, fixed])
        for name, (_, _, text) in rules.items():
            write_once("fifo", self.folder / name, f"{text}\n".encode())
        teld.wait_for_delivered(4)
        for name, (_, client, text) in rules.items():
            # The whole line: what names the client is part of it.
            self.assertEqual(self.lines(client), [text.encode()], name)

    def test_a_line_in_which_the_rule_finds_no_client_is_counted_and_goes_nowhere(self):
        client, other = self.topics(2)
        inputs = {
            "word": {"type": "fifo", "path": self.folder / "word", "client": {"word": 5}},
            "field": {"type": "fifo", "path": self.folder / "field", "client": {"json": "client"}},
        }
        teld = self.start(inputs, [client, other])
        words = [f"{client} too short", "", "a b c d ../etc", f"a b c d  {client}"]
        fields = [
            f'{{"client": "{client}"', f'{{"client": "{client}", "client": "{other}"}}', '{"client": 7}', "{}", client,
            f'{{"client": "{client}"}} {{"client": "{other}"}}', f'[{{"client": "{client}"}}]',
        ]  # fmt: skip
        write_once("fifo", self.folder / "word", "\n".join([*words, f"a b c d {client}", ""]).encode())
        write_once("fifo", self.folder / "field", "\n".join([*fields, f'{{"client": "{client}"}}', ""]).encode())
        picture = teld.wait_for_picture(
            "all read", lambda now: now.total["delivered"] + now.total["malformed"] == len(words) + len(fields) + 2
        )
        self.assertEqual((picture.total["delivered"], picture.residual()), (2, 0))
        self.assertEqual(sorted(self.lines(client)), sorted([f"a b c d {client}".encode(), f'{{"client": "{client}"}}'.encode()]))
        self.assertEqual(self.lines(other), [])


if __name__ == "__main__":
    unittest.main()
