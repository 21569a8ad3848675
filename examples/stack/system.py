"""The parts of a whole tel on one machine: Kafka, tel-control, edges. Each is started in a folder of its own, which it finds again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
KAFKA = ROOT / "tests" / "kafka" / "kafka"
# The programs; others can be named.
CONTROL = Path(os.environ.get("TEL_CONTROL", ROOT / "target" / "release" / "tel-control"))
TELD = Path(os.environ.get("TEL_TELD", ROOT / "target" / "release" / "teld"))
# Longest path of a Unix socket.
LONGEST_SOCKET = 107
PATIENCE_S = 60


class Failed(Exception):
    """Something did not work; the text says what, and where to look."""


def wait_for(what, condition, seconds=PATIENCE_S):
    """Waits until `condition()` gives something true, and returns that."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return found


def free_port():
    """A port nobody listens on, below those that outgoing connections get."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(8470, max(lowest, 12000)):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("no port is free")


class Program:
    """A process that leaves its number in a file, so that one which was left over is found and ended."""

    def __init__(self, folder, name, command, environment=None):
        self.name, self.command = name, [str(word) for word in command]
        self.log, self.number = folder / f"{name}.log", folder / f"{name}.pid"
        self.environment, self.process = environment or {}, None

    def start(self):
        self.end_left_over()
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for who started it, which ends all in order.
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        self.number.write_text(str(self.process.pid))
        return self

    def end_left_over(self):
        try:
            pid = int(self.number.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except (OSError, ValueError):
            return
        # A number alone may be another process's by now.
        if words[: len(self.command)] == self.command:
            os.kill(pid, signal.SIGTERM)
            wait_for(f"the end of {self.name} from before, process {pid}", lambda: not Path(f"/proc/{pid}").exists())

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def said(self, lines=20):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def wait_until(self, what, condition, seconds=PATIENCE_S):
        """As `wait_for`, for as long as it lives."""

        def lives_and():
            if not self.is_alive():
                raise Failed(f"{self.name} has ended ({self.process.returncode}); {self.log}:\n{self.said()}")
            return condition()

        try:
            return wait_for(what, lives_and, seconds)
        except Failed as error:
            raise Failed(f"{error}; {self.log}:\n{self.said()}") from None

    def send(self, number):
        if self.is_alive():
            self.process.send_signal(number)

    def end(self, how=signal.SIGTERM, seconds=30):
        """Ends it, by force if it takes too long. Its exit status."""
        if self.process is None:
            return None
        self.send(how)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.number.unlink(missing_ok=True)
        return self.process.returncode


class Kafka:
    """One broker: mutual TLS, rights by ACLs, CN=admin the administrator."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def start(self):
        # One that was left over, because who started it was killed.
        self.end()
        # A session of its own, as with the programs.
        command = [KAFKA, "start", self.folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True)
        if done.returncode != 0:
            raise Failed(f"Kafka does not start; {self.folder / 'log'} and the lines above say why")
        told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        self.plain, self.servers, self.pki = told["TEL_KAFKA_PLAINTEXT"], told["TEL_KAFKA_SSL"], Path(told["TEL_KAFKA_PKI"])
        return self

    def end(self):
        """Ends it, if it runs."""
        subprocess.run([KAFKA, "stop", self.folder], check=False, stdout=subprocess.DEVNULL)

    def trust(self, authority):
        """Takes certificates of this authority, too: starts anew if it does not yet."""
        both = (self.pki / "ca.pem").read_bytes() + authority.read_bytes()
        store = self.pki / "trust.pem"
        if store.exists() and store.read_bytes() == both:
            return
        store.write_bytes(both)
        settings = self.folder / "server.properties"
        old = f"ssl.truststore.location={self.pki / 'ca.pem'}"
        settings.write_text(settings.read_text().replace(old, f"ssl.truststore.location={store}"))
        self.end()
        self.start()

    def admin(self, *commands):
        """Commands of tests/kafka/kafka admin."""
        subprocess.run([KAFKA, "admin", self.folder], input="\n".join([*commands, ""]), text=True, check=True)

    def probe(self, *attempts):
        """What certificates may do: an answer for each."""
        command = [KAFKA, "probe", self.folder]
        done = subprocess.run(command, input="\n".join([*attempts, ""]), text=True, check=True, stdout=subprocess.PIPE)
        return done.stdout.splitlines()


class Control:
    """tel-control."""

    def __init__(self, folder, kafka, settings=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.kafka, self.settings = folder, kafka, settings or {}
        self.config, self.operator = folder / "control.json", folder / "operator.token"
        self.socket = folder / "control.sock"
        if len(str(self.socket)) > LONGEST_SOCKET:
            self.socket = Path("/tmp") / f"tel-stack-{os.getuid()}-{zlib.crc32(str(folder).encode()):x}.sock"
        self.program = Program(folder, "tel-control", [CONTROL, "serve", "--config", self.config])

    def make(self):
        """Configuration, authority, database and the first operator's token, as far as they are not there."""
        # The database is one process's.
        self.program.end_left_over()
        listen = f"127.0.0.1:{free_port()}"
        if self.config.exists():
            listen = json.loads(self.config.read_text())["listen"]
        pki = self.kafka.pki
        config = {
            "database": "sqlite:tel-control.db",
            "kafka": {
                "bootstrap.servers": self.kafka.servers,
                # The broker listens on 127.0.0.1 alone, whatever localhost is first.
                "broker.address.family": "v4",
                "security.protocol": "ssl",
                "ssl.ca.location": str(pki / "ca.pem"),
                "ssl.certificate.location": str(pki / "admin.crt"),
                "ssl.key.location": str(pki / "admin.key"),
            },
            "listen": listen,
            "public_bootstrap": self.kafka.servers,
            "brokers_ca": str(pki / "ca.pem"),
            "ca": "ca",
            "ca_passphrase": "ca-passphrase",
            "control_socket": str(self.socket),
            # Refusals are in the broker's own log here.
            "authorizer_logs": [str(self.kafka.folder / "log")],
            **self.settings,
        }
        passphrase = self.folder / "ca-passphrase"
        if not passphrase.exists():
            write_secret(passphrase, os.urandom(16).hex() + "\n")
        self.config.write_text(json.dumps(config, indent=2) + "\n")
        self.url = f"http://{listen}"
        token = json.loads(self.run("init", "--json"))["token"]
        if token:
            write_secret(self.operator, token + "\n")
        if not self.operator.exists():
            raise Failed(f"an operator's token was made, but {self.operator} is not there: `tel-control token add` makes another")
        self.token = self.operator.read_text().strip()
        self.kafka.trust(self.folder / "ca" / "ca.crt")
        return self

    def start(self):
        self.program.start()
        self.program.wait_until(f"tel-control answers at {self.url}", lambda: is_answered(self.url))
        return self

    def end(self, how=signal.SIGTERM):
        return self.program.end(how)

    def run(self, *words, check=True):
        """Its command line. What it prints."""
        command = [CONTROL, *map(str, words), "--config", self.config]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and done.returncode != 0:
            raise Failed(f"tel-control {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout if check else done


class Edge:
    """teld, which follows the client list and delivers the lines of its inputs."""

    def __init__(self, folder, control, name, inputs=None, kafka=None):
        self.folder, self.control, self.name = folder, control, name
        self.inputs, self.kafka = inputs or {}, kafka or {}
        self.config = folder / "teld.json"
        self.program = None

    def make(self):
        """Its certificate and configuration, if they are not there."""
        if not self.config.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.control.run("edge", "add", self.name, "--out", self.folder, "--at", self.folder)
        config = json.loads(self.config.read_text())
        config["inputs"] = self.inputs
        config["producer"]["kafka"].update(self.kafka)
        config["producer"]["kafka"]["bootstrap.servers"] = self.control.kafka.servers
        socket = self.folder / "status.sock"
        if len(str(socket)) <= LONGEST_SOCKET:
            config["status"] = {"socket": str(socket)}
        self.config.write_text(json.dumps(config, indent=2) + "\n")
        return self

    def start(self):
        self.program = Program(self.folder, "teld", [TELD, "run", "--config", self.config]).start()
        return self

    def clients(self):
        """The ids of the list that it has written."""
        try:
            return {client["id"] for client in json.loads((self.folder / "clients.json").read_text())["clients"]}
        except (OSError, ValueError):
            return set()

    def end(self, how=signal.SIGTERM):
        return self.program.end(how) if self.program else None


def write_secret(path, text):
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def is_answered(url):
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
        return True
    except OSError:
        return False


def traffic(clients, rate):
    """An input of teld: so many lines a second, each of one of the clients."""
    command = [sys.executable, str(Path(__file__).resolve().parent / "traffic.py"), str(rate), *clients]
    return {"type": "exec", "command": command}
