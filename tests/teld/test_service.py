"""The manners of a service: reload, drain, end, what systemd is told, and what becomes of the inputs meanwhile."""

import os
import signal
import socket
import time
import unittest

from case import TeldCase, emit, inputs_at
from servers import MIB, Manager, connect, open_fifo, write_once
from waiting import let_pass, wait_for


class Reload(TeldCase):
    def test_it_adds_removes_and_changes_inputs_and_leaves_the_others_alone(self):
        same, changed, removed, added = self.topics(4)
        fifo, gone, new = self.folder / "changed.fifo", self.folder / "removed.fifo", self.folder / "added.sock"
        before = {
            "same": emit(same),
            "changed": {"type": "fifo", "path": fifo},
            "removed": {"type": "fifo", "path": gone},
        }
        after = {
            "same": emit(same),
            "changed": {"type": "fifo", "path": fifo, "when_full": "wait"},
            "added": {"type": "unix", "path": new},
        }
        teld = self.start(before, [same, changed, removed, added])
        child = wait_for("the child", teld.children)
        os.close(open_fifo(fifo))
        writer = self.flood("fifo", fifo, changed, "--rate", "30000")
        leaving = open_fifo(gone)
        os.write(leaving, b"".join(b"%s %d\n" % (removed.encode(), number) for number in range(1000)))
        teld.configure(after)
        teld.reload()
        connection = connect(new)
        # To and fro, so that writers and changes meet.
        for inputs in [before, after] * 10:
            teld.configure(inputs)
            teld.reload()
            names = set(inputs)
            teld.wait_for_picture("the inputs are changed", lambda now: set(now.inputs) == names)
        connection.close()
        with connect(new) as connection:
            connection.sendall(f"{added} 0\n".encode())
        self.assertEqual(teld.children(), child, "the child of what did not change was started again")
        os.close(leaving)
        result = self.written(writer)
        self.assertEqual(result["refused"], 0, "a writer of the changed input was refused")
        teld.wait_for_picture(
            "all lines", lambda now: now.clients[changed]["delivered"] >= result["written"] and now.clients[added]["delivered"]
        )
        self.assertEqual(teld.picture().inputs["same"]["restarts"], 0)
        self.assertEqual(teld.end(), 0)
        self.assert_all_arrived(changed, result["written"])
        self.assert_all_arrived(removed, 1000)
        self.assert_all_arrived(added, 1)
        numbers = [int(text.split()[1]) for text in self.lines(same)]
        self.assertEqual(numbers, list(range(len(numbers))))

    def test_a_wrong_file_changes_nothing_and_is_said(self):
        client, other = self.topics(2)
        fifo = self.folder / "a.fifo"
        teld = self.start({"run": emit(client), "a": {"type": "fifo", "path": fifo}}, [client, other])
        child = wait_for("the child", teld.children)
        for wrong, reason in [
            ({"run": {"type": "exek", "command": ["true"]}}, "inputs.run.type"),
            ({}, "inputs"),
            ({"a": {"type": "fifo", "path": fifo, "mod": "0600"}}, "inputs.a.mod"),
        ]:
            teld.configure(wrong)
            teld.reload()
            teld.wait_until(f"{reason} is named", lambda: f"{teld.file}: {reason}: " in teld.said())
        teld.file.write_text('{"producer":\n  nonsense')
        teld.reload()
        teld.wait_until("the line is named", lambda: "line 2 column" in teld.said())
        self.assertEqual(set(teld.picture().inputs), {"run", "a"})
        self.assertEqual(teld.children(), child)
        write_once("fifo", fifo, f"{other} still read\n".encode())
        teld.wait_for_picture("the line", lambda now: now.clients[other]["delivered"] == 1)
        # And the next right one is taken.
        teld.configure({"a": {"type": "fifo", "path": fifo}})
        teld.reload()
        wait_for("the removed child has ended", lambda: not teld.children())

    def test_it_reads_the_client_list(self):
        old, new = self.topics(2)
        fifo = self.folder / "a.fifo"
        # Not watched: only the signal can have been the reason.
        teld = self.start({"a": {"type": "fifo", "path": fifo}}, [old], producer={"clients.watch": False})
        write_once("fifo", fifo, f"{new} before\n{old} before\n".encode())
        teld.wait_for_picture("refused", lambda now: now.total["unknown_client"] == 1 and now.total["delivered"] == 1)
        teld.list_clients([new, "another"])
        teld.reload()
        teld.wait_for_picture("the list is read", lambda now: now.total["clients"] == 2)
        write_once("fifo", fifo, f"{new} after\n{old} after\n".encode())
        teld.wait_for_picture("the other way round", lambda now: now.total["unknown_client"] == 2)
        teld.wait_for_delivered(2)
        self.assertEqual((self.lines(old), self.lines(new)), ([b"before"], [b"after"]))

    def test_it_ends_with_its_inputs_though_it_was_reloaded_after_one_had_ended(self):
        (client,) = self.topics(1)
        old = self.folder / "old.log"
        old.write_text(f"{client} 0\n")
        reading, writing = os.pipe()
        inputs = {"old": {"type": "file", "path": old}, "in": {"type": "stdin"}}
        teld = self.start(inputs, [client], stdin=reading)
        os.close(reading)
        teld.wait_until("the file has ended", lambda: "inputs.old: ended" in teld.said())
        teld.configure({**inputs, "a": {"type": "fifo", "path": self.folder / "a.fifo"}})
        teld.reload()
        os.close(open_fifo(self.folder / "a.fifo"))
        teld.configure(inputs)
        teld.reload()
        teld.wait_for_picture("the FIFO is gone", lambda now: "a" not in now.inputs)
        os.write(writing, f"{client} 1\n".encode())
        os.close(writing)
        self.assertEqual(teld.process.wait(20), 0)
        self.assert_all_arrived(client, 2)


class End(TeldCase):
    def test_term_delivers_what_was_written(self):
        clients = self.topics(3)
        places = {kind: self.folder / kind for kind in ["fifo", "stream", "datagram"]}
        # Nothing leaves by itself within the time of the test.
        teld = self.start(inputs_at(places), clients, producer={"kafka": {"linger.ms": 60_000}})
        for (kind, path), client in zip(places.items(), clients):
            count = 5 if kind == "datagram" else 5000
            write_once(kind, path, b"".join(b"%s %d\n" % (client.encode(), number) for number in range(count)))
        self.assertEqual(teld.end(), 0)
        self.assertIn("submitted 10005 = delivered 10005 + failed 0 + dropped 0 ", teld.said())
        for client, count in zip(clients, [5000, 5000, 5]):
            self.assert_all_arrived(client, count)
        left = [path.name for path in self.folder.iterdir() if path.is_socket()]
        self.assertEqual(left, [], "a socket is left that nobody answers")

    def test_no_line_that_was_taken_is_lost_while_it_ends_and_starts_again(self):
        clients = dict(zip(["fifo", "stream", "datagram"], self.topics(3)))
        teld = self.start(inputs_at({kind: self.folder / kind for kind in clients}), clients.values())
        os.close(open_fifo(self.folder / "fifo"))
        connect(self.folder / "stream").close()
        connect(self.folder / "datagram", socket.SOCK_DGRAM).close()
        # So many that some are under way at every moment.
        rates = {"fifo": "30000", "stream": "30000", "datagram": "5000"}
        writers = {
            kind: self.flood(kind, self.folder / kind, client, "--rate", rates[kind], "--again")
            for kind, client in clients.items()
        }
        for _ in range(10):
            teld.wait_for_picture("all write", lambda now: all(input["lines"] > 300 for input in now.inputs.values()))
            self.assertEqual(teld.end(), 0)
            teld.start()
        teld.wait_for_picture("all write", lambda now: all(input["lines"] > 300 for input in now.inputs.values()))
        results = {kind: self.written(writer) for kind, writer in writers.items()}
        teld.wait_for_picture("no writers", lambda now: now.inputs["fifo"]["writers"] + now.inputs["stream"]["writers"] == 0)
        self.assertEqual(teld.end(), 0)
        for kind, client in clients.items():
            with self.subTest(kind=kind):
                self.assertGreater(results[kind]["refused"], 0, "nothing was tried while nobody read")
                self.assert_all_arrived(client, results[kind]["written"])

    def test_term_finds_room_for_all_that_an_input_that_waits_has_been_given(self):
        (client,) = self.topics(1)
        fifo = self.folder / "a.fifo"
        inputs = {"a": {"type": "fifo", "path": fifo, "when_full": "wait"}}
        teld = self.start(inputs, [client], producer={"queue.bytes": MIB, "batches.bytes": MIB}, drain_timeout_ms=60_000)
        filling = b"x" * 200
        # Many times what teld can hold: when the last of it has been taken, teld waits for room.
        text = b"".join(b"%s %d %s\n" % (client.encode(), number, filling) for number in range(100_000))
        write_once("fifo", fifo, text)
        self.assertEqual(teld.end(), 0)
        self.assert_all_arrived(client, 100_000)

    def test_with_kafka_hung_it_ends_in_time_and_says_that_lines_were_given_up(self):
        (client,) = self.topics(1)
        fifo = self.folder / "a.fifo"
        teld = self.start({"a": {"type": "fifo", "path": fifo}}, [client], drain_timeout_ms=2000)
        write_once("fifo", fifo, f"{client} before\n".encode())
        teld.wait_for_delivered(1)
        with self.kafka.paused():
            write_once("fifo", fifo, f"{client} during\n".encode() * 1000)
            teld.wait_for_picture("read", lambda now: now.inputs["a"]["lines"] == 1001)
            start = time.monotonic()
            self.assertEqual(teld.end(), 1)
            took = time.monotonic() - start
        self.assertGreater(took, 1.9)
        self.assertLess(took, 5)
        print(f"  ended {took:.1f} s after TERM, with drain_timeout_ms 2000")

    def test_a_second_term_ends_it_at_once(self):
        (client,) = self.topics(1)
        fifo, address = self.folder / "a.fifo", str(self.folder / "notify")
        manager = self.enterContext(Manager(address))
        teld = self.start(
            {"a": {"type": "fifo", "path": fifo}, "run": emit("nobody", "deaf")},
            [client],
            drain_timeout_ms=60_000,
            environment={"NOTIFY_SOCKET": address},
        )
        child = wait_for("the child", teld.children)
        with self.kafka.paused():
            write_once("fifo", fifo, f"{client} during\n".encode())
            teld.wait_for_picture("read", lambda now: now.inputs["a"]["lines"] == 1)
            teld.process.terminate()
            manager.wait_until_told("STOPPING=1")
            teld.process.terminate()
            # The drain would take a minute.
            self.assertEqual(teld.process.wait(10), 1)
        wait_for("its child has ended, deaf as it is", lambda: not child[0].fields(), 10)

    def test_a_child_that_does_not_listen_is_killed(self):
        (client,) = self.topics(1)
        teld = self.start({"run": emit(client, "deaf"), "idle": {"type": "fifo", "path": self.folder / "a.fifo"}}, [client])
        teld.wait_for_picture("it writes", lambda now: now.total["delivered"] > 0)
        child = wait_for("the child", teld.children)[0]
        teld.configure({"idle": {"type": "fifo", "path": self.folder / "a.fifo"}})
        teld.reload()
        wait_for("the removed input's child has ended", lambda: not child.fields(), 10)
        teld.configure({"run": emit(client, "deaf")})
        teld.reload()
        # Before it has written it may not have closed its ears.
        teld.wait_for_picture("another child", lambda now: "run" in now.inputs and now.inputs["run"]["lines"] > 0)
        child = teld.children()[0]
        start = time.monotonic()
        self.assertEqual(teld.end(), 0)
        self.assertEqual(child.fields(), [])
        print(f"  ended {time.monotonic() - start:.1f} s after TERM, with a child that does not listen")

    def test_killed_it_leaves_no_child_not_even_one_that_does_not_listen(self):
        # The last one writes nothing either: no closed pipe ends it.
        deaf = ["sh", "-c", "trap '' TERM; echo nobody deaf; exec sleep 1000"]
        inputs = {"run": emit("nobody"), "quiet": {"type": "exec", "command": ["sleep", "1000"]}}
        teld = self.start({**inputs, "deaf": {"type": "exec", "command": deaf}}, [])
        teld.wait_for_picture("it is deaf", lambda now: now.inputs["deaf"]["lines"] == 1)
        children = wait_for("the children", lambda: len(teld.children()) == 3 and teld.children())
        teld.end(signal.SIGKILL)
        self.addCleanup(lambda: [child.kill() for child in children if child.fields()])
        left = lambda: [child.command() for child in children if child.fields()]  # noqa: E731
        wait_for(lambda: f"its children have ended, not so {left()}", lambda: not left(), 10)


class Systemd(TeldCase):
    def told(self, address):
        """Starts teld with a manager at this address, reloads and ends it."""
        manager = self.enterContext(Manager("\0" + address[1:] if address.startswith("@") else address))
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"}
        teld = self.start({"a": {"type": "fifo", "path": self.folder / "a.fifo"}}, [], environment=environment)
        manager.wait_until_told("READY=1")

        seen = len(manager.messages)
        teld.reload()
        reloading = manager.wait_until_told("RELOADING=1", seen)
        # The manager compares it with its own clock, and waits for the READY that comes after.
        told = int(dict(line.split("=", 1) for line in reloading.split("\n"))["MONOTONIC_USEC"])
        self.assertLess(abs(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6 - told), 10e6)
        manager.wait_until_told("READY=1", seen)

        # A file that is wrong does not leave the manager waiting.
        seen = len(manager.messages)
        teld.file.write_text("nonsense")
        teld.reload()
        manager.wait_until_told("RELOADING=1", seen)
        manager.wait_until_told("READY=1", seen)

        seen = len(manager.messages)
        wait_for("signs of life", lambda: len(manager.has("WATCHDOG=1", seen)) >= 8)
        signs = [at for at, message in manager.messages[seen:] if "WATCHDOG=1" in message]
        self.assertLess(max(late - early for early, late in zip(signs, signs[1:])), 0.4)
        self.assertEqual(teld.end(), 0)
        manager.wait_until_told("STOPPING=1", seen)

    def test_it_is_told_of_start_reload_life_and_end(self):
        self.told(str(self.folder / "notify"))

    def test_it_is_told_at_an_abstract_address_too(self):
        self.told(f"@teld-test-{os.getpid()}")

    def test_a_watchdog_that_is_meant_for_another_process_is_not_fed(self):
        address = str(self.folder / "notify")
        manager = self.enterContext(Manager(address))
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
        self.start({"a": {"type": "fifo", "path": self.folder / "a.fifo"}}, [], environment=environment)
        manager.wait_until_told("READY=1")
        let_pass(1)
        self.assertEqual(manager.has("WATCHDOG=1"), [])


if __name__ == "__main__":
    unittest.main()
