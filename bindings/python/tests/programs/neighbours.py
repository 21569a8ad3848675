"""Everything at once, from several threads:

- libtel produces to a broker;
- confluent-kafka, with a librdkafka and an OpenSSL of its own, produces to the same broker;
- Python's ssl, on the system's OpenSSL as libtel is, serves TLS, and connects to that server twenty times;
- a second libtel producer takes the TLS server for a broker: handshake, certificate check and first request are libtel's;
- cryptography, with yet another OpenSSL, makes the certificates (through trustme).
"""

import importlib
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import List

first, broker, client, their_topic, folder = sys.argv[1:]
for name in {"tel": ("tel", "confluent_kafka"), "confluent_kafka": ("confluent_kafka", "tel")}[first]:
    importlib.import_module(name)

import confluent_kafka  # noqa: E402
import trustme  # noqa: E402

import tel  # noqa: E402

LINES = 5000
HANDSHAKES = 20

if first == "tel":
    # Loaded at first use, not at import: first means before the other's first handle too.
    tel.version()

problems: List[BaseException] = []


class Worker(threading.Thread):
    """A thread whose exception is the program's."""

    def run(self) -> None:
        try:
            super().run()
        except BaseException as problem:
            problems.append(problem)
            raise


authority = trustme.CA()
authority_file = Path(folder, "ca.pem")
authority.cert_pem.write_to_path(authority_file)
server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
authority.issue_cert("127.0.0.1").configure_cert(server_context)
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
spoke_kafka = threading.Event()
closing = threading.Event()
greeted = 0


def serve_one(connection: socket.socket) -> None:
    global greeted
    with connection, server_context.wrap_socket(connection, server_side=True) as secure:
        start = secure.recv(6)
        if start[:5] == b"hello":
            greeted += 1
            secure.sendall(b"hello")
        elif len(start) == 6 and start[4:6] == b"\x00\x12":
            # Length, then request type 18, ApiVersions: what every librdkafka asks first. It gets no answer.
            spoke_kafka.set()


def serve() -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        try:
            serve_one(connection)
        except OSError:
            # libtel's last connection may end anywhere; any other end before that is a failure.
            if not closing.is_set():
                raise


def shake_hands() -> None:
    context = ssl.create_default_context(cafile=str(authority_file))
    for _ in range(HANDSHAKES):
        with socket.create_connection(("127.0.0.1", port)) as plain:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                secure.sendall(b"hello")
                assert secure.recv(5) == b"hello"


def produce_theirs() -> None:
    theirs = confluent_kafka.Producer({"bootstrap.servers": broker, "compression.codec": "gzip"})
    failed: List[object] = []
    for number in range(LINES):
        theirs.produce(their_topic, b"confluent %d" % number, on_delivery=lambda e, m: failed.append(e) if e else None)
        theirs.poll(0)
    assert theirs.flush(30) == 0
    assert failed == []


def produce_ours() -> None:
    with tel.Producer({"kafka": {"bootstrap.servers": broker}}) as ours:
        ours.set_clients({"clients": [{"id": client}]})
        for number in range(LINES):
            ours.submit_for(client, b"tel %d" % number)
        ours.flush(30)
        stats = ours.stats()
        assert (stats.delivered, stats.residual) == (LINES, 0), stats


secure_config = {
    "kafka": {
        "bootstrap.servers": f"127.0.0.1:{port}",
        "security.protocol": "ssl",
        "ssl.ca.location": str(authority_file),
    },
}

server_thread = Worker(target=serve)
server_thread.start()
workers = [Worker(target=work) for work in (shake_hands, produce_theirs, produce_ours)]
secure = tel.Producer(secure_config, log=lambda level, message: None)
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert spoke_kafka.wait(30), "libtel's TLS did not get as far as a Kafka request"
closing.set()
secure.close(1)
# accept does not notice a close from another thread; a shutdown it does.
server.shutdown(socket.SHUT_RDWR)
server_thread.join()
server.close()
print(f"tls: python {greeted}, tel spoke Kafka")
sys.exit(1 if problems else 0)
