"""The real servers that teld is tested with, and teld itself. Each is a context manager that leaves no process behind."""

import atexit
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from waiting import PATIENCE_S, Process, free_port, is_answered, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
KAFKA = ROOT / "tests" / "kafka" / "kafka"
PROGRAMS = Path(__file__).resolve().parent / "programs"
TELD = os.environ.get("TEL_TELD", str(ROOT / "target" / "release" / "teld"))
MIB = 1 << 20

# Debian's servers are not in every user's path.
os.environ["PATH"] += os.pathsep + "/usr/sbin"

# Ended from outside, Python takes the way on which servers are stopped.
signal.signal(signal.SIGTERM, lambda number, _frame: exit(128 + number))


@contextlib.contextmanager
def temporary_folder():
    """Short, as a socket's path has at most 107 bytes; and open to the users that servers become."""
    folder = Path(tempfile.mkdtemp(prefix="teld-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A process, ended when this is left. What it says is in a file."""

    def __init__(self, folder, name):
        self.folder, self.log = folder, folder / f"{name}.log"
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.end(signal.SIGKILL)
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def spawn(self, command, stdin=subprocess.DEVNULL, stdout=None, environment=None):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=stdin,
                stdout=stdout or log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self):
        return self.process.pid

    def as_process(self):
        return Process(self.pid)

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def end(self, how=signal.SIGTERM, seconds=20):
        """Ends it, by force if it takes too long. Its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    @contextlib.contextmanager
    def paused(self):
        """A process that does nothing, until this is left."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            self.wait_until("it is stopped", lambda: self.as_process().state() == "T")
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_until(self, what, condition, seconds=PATIENCE_S):
        """As `wait_for`, for as long as the process lives."""

        def lives_and():
            assert self.is_alive(), f"{self.log.stem} has ended ({self.process.returncode}):\n{self.said()}"
            return condition()

        def failed():
            return f"{what() if callable(what) else what}; {self.log.stem} says:\n{self.said()[-3000:]}"

        return wait_for(failed, lives_and, seconds)


class Clock:
    """A wall clock that can be put forward, for processes with this environment."""

    def __init__(self, folder):
        self.file, library = folder / "clock", folder / "clock.so"
        self.file.touch()
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, PROGRAMS / "clock.c"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "TEL_TEST_CLOCK": str(self.file)}

    def advance(self, seconds):
        os.truncate(self.file, self.file.stat().st_size + seconds)


class Program(Server):
    """Any other program; what it prints is kept apart from what it complains about."""

    def __init__(self, folder, name, command):
        super().__init__(folder, name)
        self.command, self.output = command, folder / f"{name}.out"

    def start(self):
        with self.output.open("wb") as output:
            self.spawn(self.command, stdout=output)

    def lines(self):
        """What it has printed, in whole lines."""
        return self.output.read_bytes().split(b"\n")[:-1]


class Kafka:
    """The broker of tests/kafka."""

    def __init__(self):
        # Kafka waits for little but fsync, which memory does not have.
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="teld-kafka-", dir=memory if os.access(memory, os.W_OK) else None))
        self.groups = 0
        self.servers = None
        self.made, self.unused = 0, []

    def start(self):
        started = subprocess.run([KAFKA, "start", self.folder], stdout=subprocess.PIPE, text=True)
        assert started.returncode == 0, "no Kafka, see above"
        env = dict(line.split("=", 1) for line in started.stdout.split())
        self.servers, self.tls_servers = env["TEL_KAFKA_PLAINTEXT"], env["TEL_KAFKA_SSL"]
        self.pki = Path(env["TEL_KAFKA_PKI"])

    def end(self):
        subprocess.run([KAFKA, "stop", self.folder], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def admin(self, *commands):
        """Commands of `tests/kafka/kafka admin`."""
        subprocess.run([KAFKA, "admin", self.folder], input="\n".join([*commands, ""]), text=True, check=True)

    def certificate(self, name, common_name):
        """The properties of who shows a certificate with this common name."""
        if not (self.pki / f"{name}.crt").exists():
            subprocess.run([KAFKA, "cert", self.folder, name, common_name], stdout=subprocess.DEVNULL, check=True)
        return {
            "bootstrap.servers": self.tls_servers,
            "security.protocol": "ssl",
            "ssl.ca.location": str(self.pki / "ca.pem"),
            "ssl.certificate.location": str(self.pki / f"{name}.crt"),
            "ssl.key.location": str(self.pki / f"{name}.key"),
        }

    def topics(self, prefix, count, start=0):
        """Makes PREFIX0 and so on. Their names."""
        self.admin(f"topics {prefix} {start} {start + count}")
        return [f"{prefix}{number}" for number in range(start, start + count)]

    def empty(self, count):
        """So many topics that no other test has. They are made in larger numbers, as each time takes a second."""
        while len(self.unused) < count:
            self.unused += self.topics("t", 100, start=self.made)
            self.made += 100
        taken, self.unused = self.unused[:count], self.unused[count:]
        return taken

    def read(self, topics):
        """All lines in each of the topics."""
        self.groups += 1
        options = ["-X", "auto.offset.reset=earliest", "-X", "fetch.wait.max.ms=50", "-e", "-q", "-f", "%t %s\\n"]
        done = subprocess.run(
            ["kcat", "-b", self.servers, *options, "-G", f"tests-{os.getpid()}-{self.groups}", *topics],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=120,
        )
        assert done.returncode == 0, f"kcat: {done.stderr.decode()}"
        lines = {topic: [] for topic in topics}
        for line in done.stdout.split(b"\n")[:-1]:
            topic, text = line.split(b" ", 1)
            lines[topic.decode()].append(text)
        return lines

    def count(self, topics):
        """The number of lines in all of the topics, which have one partition each."""
        ask = [word for topic in topics for word in ("-t", f"{topic}:0:-1")]
        done = subprocess.run(["kcat", "-b", self.servers, "-Q", *ask], capture_output=True, text=True, timeout=60)
        ends = [int(line.split()[-1]) for line in done.stdout.splitlines()]
        assert done.returncode == 0 and len(ends) == len(topics), f"kcat: {done.stdout}{done.stderr}"
        return sum(ends)

    @contextlib.contextmanager
    def stopped(self):
        """No broker, until this is left; then the same again."""
        subprocess.run([KAFKA, "stop", self.folder], check=True)
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def paused(self):
        """A broker that hangs, until this is left."""
        subprocess.run([KAFKA, "pause", self.folder], check=True)
        try:
            yield
        finally:
            subprocess.run([KAFKA, "resume", self.folder], check=True)


_kafka = None


def kafka():
    """One broker for all tests of a run, started for the first that asks."""
    global _kafka
    if _kafka is None:
        _kafka = Kafka()
        atexit.register(_kafka.end)
        _kafka.start()
    return _kafka


class Picture:
    """What `teld status --json` says."""

    def __init__(self, text):
        told = json.loads(text)
        self.pid = told["pid"]
        self.total = told["producer"]["total"]
        self.clients = told["producer"]["clients"]
        self.inputs = told["inputs"]
        self.sync = told.get("sync")

    def input_sum(self, name):
        return sum(input[name] for input in self.inputs.values())

    def residual(self):
        """What has come in and is not accounted for: 0 when nothing moves."""
        total = self.total
        ends = ["delivered", "failed", "dropped_full", "dropped_too_long", "dropped_rate", "dropped_spool", "sampled_out"]
        ends += ["unknown_client", "malformed", "spooled", "in_flight"]
        return total["submitted"] + total["recovered"] - sum(total[name] for name in ends)


class Teld(Server):
    """teld with a configuration of its own."""

    def __init__(self, folder, inputs, clients=(), producer=None, environment=None, stdin=subprocess.DEVNULL, **others):
        super().__init__(folder, "teld")
        self.file, self.clients_file = folder / "teld.json", folder / "clients.json"
        self.producer = {
            "kafka": {"bootstrap.servers": kafka().servers, "linger.ms": 50, "broker.address.family": "v4"},
            "clients.file": str(self.clients_file),
        }
        for key, value in (producer or {}).items():
            self.producer[key] = {**self.producer["kafka"], **value} if key == "kafka" else value
        self.others = {"status": {"socket": str(folder / "status.sock")}, **others}
        # Whoever asks need not know more, and can ask while the other file is wrong.
        self.asking = folder / "asking.json"
        self.asking.write_text(json.dumps(self.others, default=str))
        self.environment, self.stdin = environment, stdin
        self.list_clients(clients)
        self.configure(inputs)

    def list_clients(self, clients):
        """Writes the client list: ids, or whole entries."""
        entries = [client if isinstance(client, dict) else {"id": client} for client in clients]
        self.replace(self.clients_file, json.dumps({"clients": entries}))

    def configure(self, inputs):
        """Writes the configuration with these inputs."""
        self.replace(self.file, json.dumps({"producer": self.producer, "inputs": inputs, **self.others}, default=str))

    @staticmethod
    def replace(path, text):
        new = path.with_suffix(".new")
        new.write_text(text)
        new.rename(path)

    def start(self):
        self.spawn([TELD, "run", "--config", self.file], stdin=self.stdin, environment=self.environment)
        self.wait_until("it answers `teld status`", lambda: self.ask().returncode == 0)

    def ask(self):
        return subprocess.run([TELD, "status", "--config", self.asking, "--json"], capture_output=True, text=True)

    def picture(self):
        asked = self.ask()
        assert asked.returncode == 0, f"status {asked.returncode}: {asked.stderr}; teld says:\n{self.said()[-3000:]}"
        return Picture(asked.stdout)

    def wait_for_picture(self, what, condition, seconds=PATIENCE_S):
        """Waits until the picture is as `condition` wants it. The picture."""
        last = []

        def fits():
            last[:] = [self.picture()]
            return condition(last[0])

        def failed():
            return f"{what}; {last[0].total} {last[0].inputs} {last[0].sync or ''}" if last else what

        self.wait_until(failed, fits, seconds)
        return last[0]

    def wait_for_delivered(self, count, seconds=PATIENCE_S):
        """Waits until so many lines were delivered since the start, and none is under way. The picture."""
        return self.wait_for_picture(
            f"{count} lines delivered",
            lambda now: now.total["delivered"] >= count and now.total["in_flight"] == 0,
            seconds,
        )

    def children(self):
        """Child processes, those that wait to be reaped left out."""
        return [child for child in self.as_process().children() if child.state() not in ("Z", "")]

    def zombies(self):
        return [child for child in self.as_process().children() if child.state() == "Z"]

    def reload(self):
        self.process.send_signal(signal.SIGHUP)


class Manager:
    """A service manager's side of sd_notify(3)."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.messages = []
        self.thread = threading.Thread(target=self.listen, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()

    def listen(self):
        while message := self.socket.recv(4096):
            self.messages.append((time.monotonic(), message.decode()))

    def has(self, line, since=0):
        """The messages with this line, from the given one on."""
        return [message for _, message in self.messages[since:] if line in message.split("\n")]

    def wait_until_told(self, line, since=0, seconds=PATIENCE_S):
        return wait_for(lambda: f"told {line}; was told {self.messages}", lambda: self.has(line, since), seconds)[0]


class Varnishd(Server):
    """varnishd that answers every request itself, and logs as the client what stands first in the path."""

    VCL = """
vcl 4.1;
import std;
backend default none;
sub vcl_recv {
    std.log("client:" + regsub(req.url, "^/([^/]+)/.*$", "\\1"));
    return (synth(200));
}
"""
    FORMAT = '%{VCL_Log:client}x %h %t "%r" %s'

    def __init__(self, folder):
        super().__init__(folder, "varnishd")
        self.port, self.work = free_port(), folder / "varnish"
        (folder / "test.vcl").write_text(self.VCL)

    def start(self):
        # The log in memory holds all that a test requests, so that no reader of it can be overrun.
        command = ["varnishd", "-F", "-n", self.work, "-a", f"127.0.0.1:{self.port}", "-f", self.folder / "test.vcl"]
        self.spawn([*command, "-l", "300m", "-s", "malloc,10m"])
        self.wait_until("it answers", lambda: is_answered(self.port))

    def ncsa(self, *more):
        """The command that prints what it logs."""
        return ["varnishncsa", "-n", str(self.work), "-F", self.FORMAT, *more]

    def worker(self):
        """The child that serves."""
        return wait_for("varnishd has a child", self.as_process().children)[0]

    def requests(self):
        """Requests so far, as varnishd counts them."""
        asked = subprocess.run(
            ["varnishstat", "-n", self.work, "-1", "-f", "MAIN.client_req"], stdout=subprocess.PIPE, text=True, check=True
        )
        return int(asked.stdout.split()[1])


class NginxRtmp(Server):
    """nginx that makes HLS of live streams and logs every request into a FIFO, the client first."""

    MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
    CONFIG = """
load_module {module};
daemon off;
{user}
worker_processes 2;
error_log {folder}/nginx-error.log notice;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
rtmp {{
    server {{
        listen 127.0.0.1:{rtmp};
        application live {{
            live on;
            hls on;
            hls_path {folder}/hls;
            hls_nested on;
            hls_fragment 1s;
            hls_playlist_length 10s;
        }}
    }}
}}
http {{
    map $uri $client {{
        default "-";
        "~^/hls/(?<first>[^/]+)/" $first;
    }}
    log_format tel '$client $remote_addr [$time_iso8601] "$request" $status $body_bytes_sent "$http_user_agent" end';
    access_log {fifo} tel;
    client_body_temp_path {folder}/tmp-body;
    proxy_temp_path {folder}/tmp-proxy;
    fastcgi_temp_path {folder}/tmp-fastcgi;
    uwsgi_temp_path {folder}/tmp-uwsgi;
    scgi_temp_path {folder}/tmp-scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder};
    }}
}}
"""

    def __init__(self, folder, fifo):
        super().__init__(folder, "nginx")
        self.port, self.rtmp = free_port(), free_port()
        self.config = folder / "nginx.conf"
        # The workers write into the test's folder.
        user = "user root;" if os.geteuid() == 0 else ""
        text = self.CONFIG.format(module=self.MODULE, user=user, folder=folder, rtmp=self.rtmp, fifo=fifo, port=self.port)
        self.config.write_text(text)

    def start(self):
        self.spawn(["nginx", "-p", self.folder, "-c", self.config, "-e", self.folder / "nginx-error.log"])
        self.wait_until("it answers", lambda: is_answered(self.port) and is_answered(self.rtmp))

    def workers(self):
        return self.as_process().children()

    def kill_all(self):
        """kill -9 of master and workers: a master alone would leave them serving."""
        workers = self.workers()
        self.process.kill()
        self.process.wait()
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
        wait_for("nginx is gone", lambda: not any(worker.fields() for worker in workers))


class LiveStream(Server):
    """ffmpeg that sends one generated picture as the live stream of several clients, again whenever it is cut off."""

    def __init__(self, folder, rtmp, clients):
        super().__init__(folder, "ffmpeg")
        self.rtmp, self.clients = rtmp, clients
        self.over = threading.Event()
        self.keeper = threading.Thread(target=self.keep, daemon=True)

    def start(self):
        self.send()
        self.keeper.start()

    def send(self):
        outputs = "|".join(f"[f=flv:onfail=abort]rtmp://127.0.0.1:{self.rtmp}/live/{client}" for client in self.clients)
        source = ["-re", "-f", "lavfi", "-i", "testsrc=size=128x96:rate=10"]
        # A key frame a second: segments begin at key frames.
        codec = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10", "-b:v", "40k"]
        tee = ["-pix_fmt", "yuv420p", "-flags", "+global_header", "-map", "0:v", "-f", "tee", outputs]
        self.spawn(["ffmpeg", "-nostdin", "-loglevel", "warning", "-threads", "1", *source, *codec, *tee])

    def keep(self):
        while not self.over.wait(0.2):
            if not self.is_alive() and is_answered(self.rtmp):
                self.send()

    def cut(self):
        """Ends the connections; there are new ones soon."""
        super().end(signal.SIGKILL)

    def end(self, how=signal.SIGTERM, seconds=20):
        self.over.set()
        if self.keeper.is_alive():
            self.keeper.join()
        return super().end(how, seconds)


def open_fifo(path):
    """The writing end of a FIFO, once there is a reader: writes to it wait."""

    def attempt():
        try:
            return [os.open(path, os.O_WRONLY | os.O_NONBLOCK)]
        except OSError as error:
            # Not made yet, or made and without a reader.
            if error.errno in (errno.ENOENT, errno.ENXIO):
                return None
            raise

    descriptor = wait_for(f"{path} has a reader", attempt)[0]
    assert stat.S_ISFIFO(os.fstat(descriptor).st_mode), f"{path} is no FIFO"
    os.set_blocking(descriptor, True)
    return descriptor


def connect(path, kind=socket.SOCK_STREAM):
    """A socket connected to `path`, once somebody answers there."""

    def attempt():
        attempted = socket.socket(socket.AF_UNIX, kind)
        try:
            attempted.connect(str(path))
            return attempted
        except (FileNotFoundError, ConnectionRefusedError):
            attempted.close()
            return None

    return wait_for(f"{path} is answered", attempt)


def write_once(kind, path, text):
    """Opens or connects, writes, and goes away."""
    if kind == "fifo":
        with open(open_fifo(path), "wb", buffering=0) as fifo:
            fifo.write(text)
    else:
        with connect(path, socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM) as writer:
            writer.sendall(text)
