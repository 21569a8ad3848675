"""Wrong configurations: a right one with one thing changed, and what the error is to name."""

import copy
import json

# What no key of a type takes.
NOT_TEXT = [7, True, None, [], {}]
NOT_BOOLEAN = ["yes", 1, None, []]
NOT_INTEGER = ["5", 1.5, True, None, []]
NOT_OBJECT = [7, "x", [], None, True]


class Case:
    """A file's text, and a pattern of what its error names."""

    def __init__(self, name, text, names):
        self.name, self.names = name, names
        self.text = text if isinstance(text, bytes) else text.encode()

    def __repr__(self):
        return self.name


def good(folder, port):
    """A configuration that starts whatever can be started: children, FIFOs, sockets, files, a port."""
    rule = {"client": {"word": 1}}
    return {
        "producer": {
            "kafka": {"bootstrap.servers": "127.0.0.1:1"},
            "clients.file": f"{folder}/clients.json",
            "queue.bytes": 4 << 20,
        },
        "inputs": {
            "run": {"type": "exec", "command": ["touch", f"{folder}/a-child-was-here"]},
            "pipe": {"type": "fifo", "path": f"{folder}/pipe", "mode": "0640", "owner": ":0", **rule},
            "stream": {"type": "unix", "path": f"{folder}/stream", "socket": "stream", "when_full": "wait"},
            "datagram": {"type": "unix", "path": f"{folder}/datagram", "socket": "datagram", "header": "syslog"},
            "log": {"type": "file", "path": f"{folder}/log", "follow": True, "position": f"{folder}/position", "from": "end"},
        },
        "metrics": {"listen": f"127.0.0.1:{port}", "clients": 10},
        "status": {"socket": f"{folder}/status"},
        "drain_timeout_ms": 1000,
    }


class Cases:
    """Builds the list."""

    def __init__(self, folder, port):
        self.good = good(folder, port)
        self.folder = folder
        self.all = []

    def text(self, name, text, names):
        self.all.append(Case(name, text, names))

    def set(self, path, value, names=None):
        """The right one with the key at `path` (keys and a last one) set to this value."""
        changed = copy.deepcopy(self.good)
        inner = changed
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
        shown = json.dumps(value)
        # The longest are of no use in a name.
        name = f"{'/'.join(path)} = {shown if len(shown) < 60 else shown[:57] + '...'}"
        # The producer's part names its keys as the library does.
        key = f"producer: {'.'.join(path[1:])}" if path[0] == "producer" and path[1:] else ".".join(path)
        self.text(name, json.dumps(changed, indent=1), names or literal(key))

    def without(self, path, names):
        changed = copy.deepcopy(self.good)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        self.text(f"without {'/'.join(path)}", json.dumps(changed, indent=1), names)

    def each(self, path, values, names=None):
        for value in values:
            self.set(path, value, names)

    def add_input(self, keys, names):
        self.set(["inputs", "more"], keys, names)


def literal(text):
    return text.replace(".", r"\.")


def all_of(folder, port):
    cases = Cases(folder, port)
    types(cases)
    values_of_inputs(cases)
    values_of_the_rest(cases)
    kafka(cases)
    shared_places(cases)
    unknown_keys(cases)
    missing_keys(cases)
    keys_given_twice(cases)
    not_json(cases)
    return cases.all


def types(cases):
    cases.each(["producer"], [*NOT_OBJECT], "producer")
    cases.each(["inputs"], [7, "automatic", "", [], None, True], "inputs")
    cases.each(["metrics"], NOT_OBJECT)
    cases.each(["status"], NOT_OBJECT)
    cases.each(["sync"], NOT_OBJECT)
    for key in ["edge", "topic", "acks"]:
        for value in NOT_TEXT:
            cases.set(["sync"], {"edge": "edge-1", key: value}, rf"sync\.{key}")
    cases.each(["drain_timeout_ms"], NOT_INTEGER)
    cases.each(["producer", "kafka"], NOT_OBJECT)
    cases.each(["producer", "clients.file"], [*NOT_TEXT, ""])
    cases.each(["producer", "clients.watch"], NOT_BOOLEAN)
    cases.each(["producer", "embedded_broker"], NOT_BOOLEAN)
    cases.each(["producer", "insecure"], NOT_BOOLEAN)
    for key in ["queue.bytes", "queue.max_line_bytes", "batches.bytes", "exit_timeout_ms"]:
        cases.each(["producer", key], NOT_INTEGER)
    cases.each(["inputs", "pipe"], NOT_OBJECT)
    for input, keys in {
        "run": ["type"],
        "pipe": ["path", "mode", "owner", "when_full", "header"],
        "stream": ["path", "socket"],
        "log": ["path", "position", "from"],
    }.items():
        for key in keys:
            cases.each(["inputs", input, key], [*NOT_TEXT, ""])
    cases.each(["inputs", "run", "command"], ["ls", 7, {}, [], [7], ["ls", None], [["ls"]], [""], [" "]])
    cases.each(["inputs", "log", "follow"], NOT_BOOLEAN)
    cases.each(["inputs", "pipe", "client"], NOT_OBJECT)
    cases.each(["inputs", "pipe", "client", "word"], NOT_INTEGER)
    for key in ["json", "fixed"]:
        for value in [*NOT_TEXT, ""]:
            cases.set(["inputs", "pipe", "client"], {key: value}, rf"inputs\.pipe\.client\.{key}")
    cases.each(["metrics", "listen"], [*NOT_TEXT, ""])
    cases.each(["metrics", "clients"], NOT_INTEGER)
    cases.each(["status", "socket"], [*NOT_TEXT, ""])


def values_of_inputs(cases):
    for name in ["", "a b", "a/b", "é", "x" * 65]:
        cases.set(["inputs", name], {"type": "stdin"}, "inputs")
    cases.set(["inputs"], {}, "inputs")
    cases.each(["inputs", "pipe", "type"], ["Fifo", "pipe", "tcp", "auto"])
    cases.each(["inputs", "pipe", "mode"], ["rw", "0999", "1777", "0x1b0", "-1"])
    cases.each(["inputs", "pipe", "owner"], ["no-such-user-here", "root:no-such-group-here", "root:root:root"])
    cases.each(["inputs", "pipe", "when_full"], ["block", "Drop"])
    cases.each(["inputs", "pipe", "header"], ["rfc5424", "Syslog"])
    cases.each(["inputs", "stream", "socket"], ["seqpacket", "dgram"])
    cases.each(["inputs", "log", "from"], ["middle", "0"])
    cases.each(["inputs", "pipe", "client", "word"], [0, -1, 100_000])
    cases.each(["inputs", "pipe", "client"], [{}, {"word": 1, "fixed": "c1"}, {"json": "a", "fixed": "c1"}])
    # No client can have such an id: not one line would be delivered.
    for id in ["two words", "a/b", "-", "..", "__consumer", "x" * 129, "é"]:
        cases.set(["inputs", "pipe", "client"], {"fixed": id}, r"inputs\.pipe\.client")
    cases.set(["inputs", "stream", "path"], f"{cases.folder}/{'x' * 108}")
    cases.set(["inputs", "pipe", "path"], f"{cases.folder}/a\0b")
    cases.set(["inputs", "run", "command"], ["ls", "a\0b"])


def values_of_the_rest(cases):
    addresses = ["9470", "127.0.0.1", "localhost:9470", "127.0.0.1:99999", "127.0.0.1:-1", "http://127.0.0.1:9470"]
    cases.each(["metrics", "listen"], [*addresses, "0.0.0.0:9470", "[::]:9470", "192.0.2.1:9470"])
    cases.each(["metrics", "clients"], [-1, 100_001])
    cases.each(["drain_timeout_ms"], [-1, 3_600_001, 10**30])
    cases.set(["status", "socket"], f"{cases.folder}/{'x' * 108}")
    for edge in ["", "a b", "a:b", "..", "__a", "x" * 60]:
        cases.set(["sync"], {"edge": edge}, r"sync\.edge")
    for key, topic in [("topic", "a b"), ("topic", "__consumer_offsets"), ("acks", "x" * 250), ("acks", "tel.clients")]:
        cases.set(["sync"], {"edge": "edge-1", key: topic}, rf"sync\.{key}")
    cases.each(["producer", "queue.bytes"], [0, -1, 1000, 1e300])
    cases.each(["producer", "queue.max_line_bytes"], [0, 1, 2_000_000])
    cases.each(["producer", "batches.bytes"], [0, 1000])
    cases.each(["producer", "exit_timeout_ms"], [-1, 10**9])
    cases.set(["producer", "spool.dir"], "/var/spool/tel")
    cases.set(["producer", "spool"], {"max_bytes": 1}, r"spool\.max_bytes")


def kafka(cases):
    for key, value in {
        "bootstrap.servers": "",
        "compression.codec": "brotli",
        "compresion.codec": "gzip",
        "compression.level": 99,
        "linger.ms": "soon",
        "queue.buffering.max.ms": -1,
        "acks": "many",
        "security.protocol": "sometimes",
        "socket.timeout.ms": 1,
        "enable.idempotence": "perhaps",
        "batch.num.messages": 0,
        "message.timeout.ms": [],
        "retry.backoff.ms": {},
        "ssl.ca.location": f"{cases.folder}/nowhere.pem",
        "ssl.certificate.location": f"{cases.folder}/nowhere.pem",
        "ssl.key.location": f"{cases.folder}/nowhere.key",
        "enable.ssl.certificate.verification": False,
        "ssl.endpoint.identification.algorithm": "none",
        "transactional.id": "x",
        "allow.auto.create.topics": True,
        "plugin.library.paths": "x.so",
        "test.mock.num.brokers": 1,
        "group.instance.id\0": "x",
    }.items():
        cases.set(["producer", "kafka", key], value, rf"producer: kafka\.{literal(key).rstrip(chr(0))}")
    both = {"bootstrap.servers": "127.0.0.1:1", "linger.ms": 1, "queue.buffering.max.ms": 1}
    cases.set(["producer", "kafka"], both, r"kafka\.(linger\.ms|queue\.buffering\.max\.ms)")


def shared_places(cases):
    folder = cases.folder
    for keys in [
        {"type": "fifo", "path": f"{folder}/pipe"},
        {"type": "fifo", "path": f"{folder}//./pipe"},
        {"type": "fifo", "path": f"{folder}/../{folder.name}/pipe"},
        {"type": "unix", "path": f"{folder}/pipe"},
        {"type": "unix", "path": f"{folder}/stream", "socket": "datagram"},
        {"type": "file", "path": f"{folder}/log"},
        # teld's own files and sockets are places, too.
        {"type": "unix", "path": f"{folder}/status"},
        {"type": "file", "path": f"{folder}/another", "follow": True, "position": f"{folder}/position"},
    ]:
        cases.add_input(keys, "(inputs|status)")
    listed = {**cases.good, "sync": {"edge": "edge-1"}}
    listed["inputs"] = {"list": {"type": "file", "path": f"{folder}/clients.json"}}
    cases.text("an input at the list that is written", json.dumps(listed), r"clients\.file")
    cases.set(["inputs"], {"a": {"type": "stdin"}, "b": {"type": "stdin"}}, r"inputs\.b")


def unknown_keys(cases):
    for path in [
        ["input"],
        ["Producer"],
        ["producer", "quue.bytes"],
        ["producer", "inputs"],
        ["metrics", "port"],
        ["status", "path"],
        ["inputs", "run", "path"],
        ["inputs", "run", "args"],
        ["inputs", "pipe", "command"],
        ["inputs", "pipe", "socket"],
        ["inputs", "pipe", "client", "field"],
        ["inputs", "stream", "follow"],
        ["inputs", "log", "mode"],
    ]:
        cases.set(path, "x")
    for group, key in [("queue", "byte"), ("clients", "path"), ("batches", "count")]:
        cases.set(["producer", group], {key: 1}, rf"{group}\.{key}")
    cases.set(["sync"], {"edge": "edge-1", "group": "x"}, r"sync\.group")
    # A position is that of a file that is followed.
    cases.add_input({"type": "file", "path": "/dev/null", "position": "/tmp/x"}, r"inputs\.more\.position")
    cases.add_input({"type": "stdin", "path": "/dev/null"}, r"inputs\.more\.path")


def missing_keys(cases):
    cases.without(["producer"], "producer")
    cases.without(["inputs"], "inputs")
    cases.without(["producer", "kafka"], r"bootstrap\.servers")
    cases.without(["inputs", "run", "command"], r"inputs\.run\.command")
    cases.without(["metrics", "listen"], r"metrics\.listen")
    cases.set(["sync"], {"topic": "tel.clients"}, r"sync\.edge")
    followed = {**cases.good, "sync": {"edge": "edge-1"}}
    followed["producer"] = {key: value for key, value in cases.good["producer"].items() if key != "clients.file"}
    cases.text("a list without a file", json.dumps(followed), r"sync: .*clients\.file")
    cases.without(["status", "socket"], r"status\.socket")
    for input in ["pipe", "stream", "log"]:
        cases.without(["inputs", input, "type"], rf"inputs\.{input}\.type")
        cases.without(["inputs", input, "path"], rf"inputs\.{input}\.path")


def keys_given_twice(cases):
    text = json.dumps(cases.good, indent=1)
    for key in [
        "producer", "kafka", "bootstrap.servers", "queue.bytes", "inputs", "run", "type", "path", "client", "word",
        "metrics", "listen", "status", "socket", "drain_timeout_ms",
    ]:  # fmt: skip
        first = text.index(f'"{key}":')
        cases.text(f"{key} given twice", f'{text[:first]}"{key}": 1, {text[first:]}', literal(key))
    both = {"queue": {"bytes": 4 << 20}}
    changed = {**cases.good, "producer": {**cases.good["producer"], **both}}
    cases.text("queue.bytes in both ways", json.dumps(changed), r"queue\.bytes")


def not_json(cases):
    lines = json.dumps(cases.good, indent=1).split("\n")
    for number in [0, 1, 2, 5, 9, 14, 20, len(lines) - 1]:
        broken = [*lines[:number], "@" + lines[number], *lines[number + 1 :]]
        cases.text(f"line {number + 1} is broken", "\n".join(broken), f"line {number + 1} column")
    whole = "\n".join(lines)
    for name, text in {
        "nothing": "",
        "spaces": " \n\n ",
        "a half": whole[: len(whole) // 2],
        "the last brace missing": whole[:-1],
        "something behind it": whole + "}",
        "a second one": whole + "\n{}",
        "a comma too many": whole[:-2] + ",\n}",
        "a comment": whole.replace("{", "{ // teld", 1),
        "single quotes": whole.replace('"', "'"),
        "a BOM": "\ufeff" + whole,
    }.items():
        cases.text(name, text, r"line \d+ column \d+")
    for name, text in {"an array": "[]", "a text": '"x"', "null": "null", "a number": "7"}.items():
        cases.text(name, text, "object")
    cases.text("not UTF-8", b'{"producer": "\xff"}', "UTF-8")
    cases.text("UTF-16", whole.encode("utf-16"), "UTF-8")
    cases.text("deep", "[" * 100_000, "(line|object)")
