"""A real nginx with the module, a real Kafka, and raw requests: what several tests need."""

import atexit
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODULE = pathlib.Path(os.environ.get("TEL_NGINX_MODULE", ROOT / "target/hosts/ngx_http_tel_module.so"))
NGINX = os.environ.get("TEL_NGINX", "/usr/sbin/nginx")
RTMP = pathlib.Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")

# Far beyond what anything here takes: reaching it is a failure, not a slow machine.
PATIENCE = 60 * float(os.environ.get("TEL_TEST_PATIENCE", "1"))


def wait_for(what, condition, patience=PATIENCE):
    """Waits until condition() is true, and returns what it says."""
    end = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"{what}: not within {patience:g} s"
        time.sleep(0.02)


def make_base():
    """The folder of everything; TEL_NGINX_KEEP leaves it there, to be looked at."""
    base = tempfile.mkdtemp(prefix="tel-nginx-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    os.chmod(base, 0o755)
    if os.environ.get("TEL_NGINX_KEEP"):
        print(f"tests/nginx: working in {base}", flush=True)
    else:
        atexit.register(shutil.rmtree, base, ignore_errors=True)
    return base


BASE = make_base()


# All of one nginx's at once, so that no two are the same.
def free_ports(number):
    held = [socket.socket() for _ in range(number)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


class Kafka:
    """The broker of tests/kafka, one for all tests."""

    _shared = None

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="kafka-", dir=BASE)
        atexit.register(self.stop)
        text = self._run("start", self.folder)
        self.env = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        self.servers = self.env["TEL_KAFKA_PLAINTEXT"]

    @classmethod
    def shared(cls):
        if cls._shared is None:
            cls._shared = cls()
        return cls._shared

    def _run(self, *words, stdin=""):
        done = subprocess.run([ROOT / "tests/kafka/kafka", *words], input=stdin, stdout=subprocess.PIPE, text=True)
        assert done.returncode == 0, f"tests/kafka/kafka {words[0]} failed"
        return done.stdout

    def stop(self):
        subprocess.run([ROOT / "tests/kafka/kafka", "stop", self.folder], stdout=subprocess.DEVNULL)

    def topics(self, names):
        self._run("admin", self.folder, stdin="".join(f"topic {name} 1\n" for name in names))

    def read(self, topic):
        """Every value in the topic, in order. Values have no newline inside: libtel sees to that."""
        done = subprocess.run(
            ["kcat", "-C", "-q", "-e", "-b", self.servers, "-t", topic, "-o", "beginning", "-X",
             "broker.address.family=v4", "-X", "check.crcs=true", "-X", "fetch.message.max.bytes=20000000"],
            stdout=subprocess.PIPE, timeout=PATIENCE)
        assert done.returncode == 0, f"kcat could not read {topic}"
        return done.stdout.split(b"\n")[:-1]


class Nginx:
    """An nginx in a folder of its own. `http` goes into its http block, `main` before it."""

    def __init__(self, http, main="", producers=None, clients=(), workers=1, ports=1, master=True, daemon=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="nginx-", dir=BASE))
        os.chmod(self.folder, 0o755)
        self.ports = free_ports(ports)
        self.port = self.ports[0]
        (self.folder / "tmp").mkdir()
        self.set_clients(clients)
        for name, config in (producers or {}).items():
            self.producer(name, config)
        self.http, self.main, self.workers, self.master, self.daemon = http, main, workers, master, daemon
        self.write_conf()
        self.process = self.pid = None

    def write_conf(self, http=None):
        if http is not None:
            self.http = http
        fill = {"FOLDER": str(self.folder), **{f"PORT{i}": str(p) for i, p in enumerate(self.ports)},
                "PORT": str(self.port)}
        http, main = self.http, self.main
        for name in sorted(fill, key=len, reverse=True):
            http, main = http.replace(f"@{name}@", fill[name]), main.replace(f"@{name}@", fill[name])
        temp = "".join(f"{kind}_temp_path {self.folder}/tmp/{kind};\n"
                       for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            f"load_module {MODULE};\n"
            f"daemon {'on' if self.daemon else 'off'}; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log info;\n"
            f"{'user root;' if os.geteuid() == 0 else ''}\n"
            # A binary that is upgraded to gets these alone.
            "env LD_PRELOAD; env ASAN_OPTIONS;\n"
            f"master_process {'on' if self.master else 'off'}; worker_processes {self.workers};\n"
            f"events {{ worker_connections 512; }}\n{main}\n"
            f"http {{\n{temp}{http}\n}}\n")

    def set_clients(self, clients, revision=1):
        text = json.dumps({"revision": revision, "clients": [{"id": c} if isinstance(c, str) else c for c in clients]})
        new = self.folder / "clients.json.new"
        new.write_text(text)
        new.rename(self.folder / "clients.json")

    def producer(self, name, config):
        config = {"clients.file": f"{self.folder}/clients.json", "queue.bytes": 4 << 20, "batches.bytes": 16 << 20,
                  **config}
        (self.folder / f"{name}.json").write_text(json.dumps(config))

    def environment(self):
        env = dict(os.environ)
        if os.environ.get("TEL_NGINX_PRELOAD"):
            env["LD_PRELOAD"] = os.environ["TEL_NGINX_PRELOAD"]
            env["ASAN_OPTIONS"] = f"detect_leaks=0:log_path={self.folder}/asan:abort_on_error=1"
        return env

    def test(self):
        """nginx -t: its status and what it says."""
        done = subprocess.run([NGINX, "-t", "-c", self.folder / "nginx.conf"], env=self.environment(),
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        return done.returncode, done.stderr

    def start(self):
        with open(self.folder / "stderr", "w") as stderr:
            self.process = subprocess.Popen([NGINX, "-c", self.folder / "nginx.conf"], env=self.environment(),
                                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        if self.daemon:
            self.process.wait(PATIENCE)
            self.process = None
            self.pid = wait_for("the pid file", self.pid_of_file)
        else:
            self.pid = self.process.pid
        wait_for("nginx comes up", self.is_up)
        return self

    def pid_of_file(self):
        try:
            return int((self.folder / "nginx.pid").read_text() or 0)
        except FileNotFoundError:
            return 0

    def is_alive(self, pid):
        if self.process and pid == self.process.pid:
            return self.process.poll() is None
        stat = pathlib.Path(f"/proc/{pid}/stat")
        try:
            return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def is_up(self):
        assert self.is_alive(self.pid), f"nginx ended: {(self.folder / 'stderr').read_text()}{self.errors()}"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.stop()
        # That of an upgrade that a test has left half-way.
        self.pid = self.pid_of_file() or self.pid
        self.stop()
        left = [p.read_text() for p in self.folder.glob("asan*")]
        crashed = [line for line in self.errors().splitlines() if "exited on signal" in line and "signal 9" not in line]
        alerts = [line for line in self.errors().splitlines() if "[alert]" in line and "signal 9" not in line]
        if kind is not None:
            print(f"the end of {self.folder}/error.log:", *self.errors().splitlines()[-20:], sep="\n", flush=True)
        assert not left, left[0]
        assert not crashed and not alerts, crashed + alerts

    def stop(self, how=signal.SIGQUIT):
        """Ends it in order; returns how long that took."""
        began = time.monotonic()
        if self.pid and self.is_alive(self.pid):
            os.kill(self.pid, how)
            try:
                wait_for("nginx ends", lambda: not self.is_alive(self.pid))
            except AssertionError:
                for pid in self.worker_pids() + [self.pid]:
                    os.kill(pid, signal.SIGKILL)
                raise
        return time.monotonic() - began

    def errors(self):
        path = self.folder / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def worker_pids(self, master=None):
        master = master or self.pid
        try:
            children = pathlib.Path(f"/proc/{master}/task/{master}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [int(pid) for pid in children]

    def get(self, path, port=None, headers=None):
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.port}{path}", headers=headers or {})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read()

    def status(self, path="/tel"):
        return json.loads(self.get(path))

    def total(self, producer="edge"):
        return self.status()["producers"][producer]["total"]

    def settled(self, lines, producer="edge"):
        """Waits until so many lines are delivered; more are a failure, as are lines that went anywhere else."""
        def all_there():
            total = self.total(producer)
            ended = sum(total[k] for k in ("failed", "dropped_full", "dropped_too_long", "malformed", "unknown_client"))
            assert ended == 0, total
            return total["delivered"] >= lines and total["in_flight"] == 0 and total
        total = wait_for(f"{lines} lines are delivered", all_there)
        assert total["delivered"] == lines, (lines, total)
        return total

    def raw(self, data, port=None, abort=False, wait=True, connection=None):
        """Sends bytes and reads until the server closes; or goes away at once."""
        s = connection or socket.create_connection(("127.0.0.1", port or self.port), PATIENCE)
        try:
            try:
                s.sendall(data)
            except OSError:
                pass  # refused half-way: the answer is there
            if abort:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return b""
            got = b""
            while wait:
                try:
                    part = s.recv(1 << 16)
                except ConnectionResetError:
                    break
                if not part:
                    break
                got += part
            return got
        finally:
            s.close()
