"""The real servers of these tests: varnishd, varnishncsa, Kafka, and an origin that behaves as it is asked to."""

import atexit
import gzip
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VMOD = Path(os.environ.get("TEL_VMOD", ROOT / "target/hosts/libvmod_tel.so"))
KAFKA = ROOT / "tests/kafka/kafka"

# Of what the origin answers in parts.
SLOW_BYTES = 2_000_000


def wait_for(condition, what, seconds=30):
    """Waits until condition() is true, and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def folder(prefix):
    """A folder that varnishd's own user can read; gone when the tests end."""
    path = Path(tempfile.mkdtemp(prefix=f"tel-varnish-{prefix}-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    path.chmod(0o755)
    return path


def write(path, text):
    """Replaces the file as a whole, readable for all."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.chmod(0o644)
    new.rename(path)
    return path


def write_clients(path, ids, revision=1):
    return write(path, json.dumps({"revision": revision, "clients": [{"id": i} for i in ids]}))


def environment():
    """That of varnishd, which is not built with the sanitizer of the module."""
    preload = os.environ.get("TEL_PRELOAD")
    return {**os.environ, **({"LD_PRELOAD": preload} if preload else {})}


class Origin:
    """Answers each path in its own way; the paths are those of traffic.py."""

    def __init__(self):
        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), _Answer)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class _Answer(socketserver.StreamRequestHandler):
    def handle(self):
        try:
            while self.one():
                pass
        except OSError:
            pass

    def one(self):
        first = self.rfile.readline(65536)
        if not first.strip():
            return False
        length = 0
        closing = False
        while (line := self.rfile.readline(65536)).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            closing |= name.lower() == b"connection" and b"close" in value
        self.rfile.read(length)
        words = first.split()
        if words[1].startswith(b"/ws"):
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhi ")
            self.wfile.write(self.rfile.readline(100))
            return False
        return self.answer(words[1].split(b"?")[0].decode("latin-1"), words[0] == b"HEAD") and not closing

    def send(self, body, headers=b"", status=b"200 OK", head=False):
        answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n" % len(body) + headers + b"\r\n"
        self.wfile.write(answer if head else answer + body)
        return True

    def answer(self, path, head):
        body = (path + " " + "x" * (len(path) * 37 % 900)).encode("latin-1")
        if path.startswith("/esi"):
            inner = b'<esi:include src="/part1?a=1"/><esi:include src="/part2"/><esi:include src="/gone"/>'
            return self.send(b"<html>" + inner + b"</html>", b"X-Esi: 1\r\n", head=head)
        if path.startswith("/gzip"):
            return self.send(gzip.compress(body * 20), b"Content-Encoding: gzip\r\n", head=head)
        if path.startswith("/etag"):
            return self.send(body * 5, b'ETag: "e1"\r\nLast-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\n', head=head)
        if path.startswith("/private"):
            return self.send(body, b"Cache-Control: private\r\nSet-Cookie: a=b\r\n", head=head)
        if path.startswith("/gone"):
            return self.send(b"gone", status=b"404 Not Found", head=head)
        if path.startswith("/error"):
            return self.send(b"", status=b"500 Internal Server Error", head=head)
        if path.startswith("/drop"):
            return False
        if path.startswith("/twice"):
            return self.send(body, b'X-Foo: first\r\nX-Foo: "second" \\ \xc3\xa9\t!\r\nX-Empty:\r\n', head=head)
        if path.startswith("/long"):
            return self.send(body, b"X-Foo: " + b"l" * 3000 + b"\r\n", head=head)
        if path.startswith("/chunked"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            return True
        if path.startswith("/slow"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SLOW_BYTES)
            for _ in range(20):
                self.wfile.write(b"s" * (SLOW_BYTES // 20))
                time.sleep(0.02)
            return True
        if path.startswith("/sized/"):
            return self.send(b"x" * int(path.removeprefix("/sized/")), head=head)
        if path.startswith("/late"):
            time.sleep(0.2)
            return self.send(body, head=head)
        return self.send(body, b"X-Foo: bar\r\n", head=head)


class Varnish:
    """A varnishd with its management in the foreground; the child is what matters here."""

    def __init__(self, vcl, parameters=(), storage="64m"):
        self.home = folder("vd")
        self.port = free_port()
        self.log = open(self.home / "varnishd.log", "w+b")
        first = write(self.home / "first.vcl", vcl)
        command = ["varnishd", "-F", "-n", str(self.home / "work"), "-a", f"127.0.0.1:{self.port}", "-f", str(first),
                   "-s", f"malloc,{storage}", "-p", "vsl_space=256m", "-p", "thread_pool_min=10"]
        for parameter in parameters:
            command += ["-p", parameter]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, env=environment())
        wait_for(lambda: self.process.poll() is not None or self.answers(), "varnishd answers")
        if self.process.poll() is not None:
            raise AssertionError(f"varnishd ended: {self.stop()}")

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def said(self):
        return (self.home / "varnishd.log").read_text(errors="replace")

    def cli(self, *words, check=True):
        done = subprocess.run(["varnishadm", "-n", str(self.home / "work"), *words], capture_output=True, text=True, timeout=60)
        # Ended by a signal, it has said nothing.
        if done.returncode < 0 or check and done.returncode != 0:
            raise AssertionError(f"varnishadm {' '.join(words)}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def load(self, name, vcl, check=True):
        return self.cli("vcl.load", name, str(write(self.home / f"{name}.vcl", vcl)), check=check)

    def child(self):
        """The worker's process id; 0 if there is none."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        return int(found[0]) if found else 0

    def statistics(self, which):
        """varnishd's counters and gauges of such names, by name."""
        out = subprocess.run(["varnishstat", "-n", str(self.home / "work"), "-1", "-f", which], capture_output=True, text=True)
        return {line.split()[0]: int(line.split()[1]) for line in out.stdout.splitlines() if line}

    def counters(self):
        return self.statistics("TEL.*")

    def is_idle(self):
        """No request is under way: each is in the log, whole."""
        live = self.statistics("MEMPOOL.req*.live").values()
        return len(live) > 0 and sum(live) == 0

    def access_lines(self, group):
        """Of access logs, submitted and refused: up to a second late."""
        found = self.counters()
        return found[group + "log_lines"] + found[group + "log_refused"]

    def get(self, path="/", headers="", method="GET"):
        """The whole answer of one request."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n".encode("latin-1"))
            answer = b""
            while chunk := s.recv(65536):
                answer += chunk
            return answer

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.log.close()
        said = self.said()
        shutil.rmtree(self.home, ignore_errors=True)
        return said


class Ncsa:
    """A varnishncsa that writes one format's lines to a file."""

    def __init__(self, varnish, text, esi=False):
        self.path = varnish.home / f"ncsa-{id(self)}"
        self.out = open(self.path, "wb")
        command = ["varnishncsa", "-n", str(varnish.home / "work"), "-L", "20000", "-F", text]
        self.process = subprocess.Popen(command + (["-E"] if esi else []), stdout=self.out, stdin=subprocess.DEVNULL)

    def lines(self):
        """A line for each request that the log has now. It sleeps when there is nothing more in the log to be read."""
        sleeps = self.sleeps() + 1
        wait_for(lambda: self.sleeps() > sleeps, "varnishncsa is at the log's end")
        self.stop()
        return self.path.read_bytes().split(b"\n")[:-1]

    def sleeps(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE).group(1))

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.out.close()


class Kafka:
    """The real broker of tests/kafka."""

    def __init__(self):
        self.home = folder("kafka")
        said = self.run("start", str(self.home))
        self.bootstrap = re.search(r"TEL_KAFKA_PLAINTEXT=(\S+)", said).group(1)

    @staticmethod
    def run(*words, commands=None):
        done = subprocess.run([str(KAFKA), *words], input=commands, stdout=subprocess.PIPE, text=True, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"kafka {' '.join(words)}: {done.stdout}")
        return done.stdout

    def topics(self, *names):
        self.run("admin", str(self.home), commands="".join(f"topic {name}\n" for name in names))

    def end(self, topic):
        return int(self.run("admin", str(self.home), commands=f"offsets {topic}\n").split()[-1])

    def read(self, topic):
        """Every value in the topic, as bytes."""
        count = self.end(topic)
        if count == 0:
            return []
        jars = self.run("classpath").strip()
        done = subprocess.run(["java", "-Xmx512m", "-cp", f"{jars}:{HERE}", "org.apache.kafka.tools.consumer.ConsoleConsumer",
                               "--bootstrap-server", self.bootstrap, "--topic", topic, "--from-beginning", "--max-messages", str(count),
                               "--timeout-ms", "30000"], capture_output=True, timeout=120)
        values = done.stdout.split(b"\n")[:-1]
        if len(values) != count:
            raise AssertionError(f"{topic}: {len(values)} of {count} values: {done.stderr[-2000:]}")
        return values

    def stop(self):
        self.run("stop", str(self.home))
        shutil.rmtree(self.home, ignore_errors=True)
