"""tel: each client's log lines, delivered to that client's own Kafka topic by a library inside this process.

    import tel

    with tel.Producer({"kafka": {"bootstrap.servers": "kafka:9092"}, "clients.file": "/etc/tel/clients.json"}) as producer:
        producer.submit(b"c83 GET /index.html 200")

A line travels: Producer.submit (producer) -> libtel (_abi, found by _library) -> Kafka. What comes back: codes become
exceptions (errors), counters become Stats (stats), log messages reach a callable (_log). _atexit closes what is left open.
"""

from .errors import (
    ClientsError,
    Closed,
    ConfigError,
    Forked,
    IncompatibleLibrary,
    InternalError,
    InvalidArgument,
    IoError,
    LibraryNotFound,
    LineTooLong,
    QueueFull,
    TelError,
    Timeout,
)
from .producer import Producer, check_config, version
from .stats import Stats

__version__ = "0.1.0"

__all__ = [
    "ClientsError",
    "Closed",
    "ConfigError",
    "Forked",
    "IncompatibleLibrary",
    "InternalError",
    "InvalidArgument",
    "IoError",
    "LibraryNotFound",
    "LineTooLong",
    "Producer",
    "QueueFull",
    "Stats",
    "TelError",
    "Timeout",
    "check_config",
    "version",
]
