"""A program with a producer, a log callable and children of multiprocessing: none of them closes anything by itself."""

import multiprocessing
import sys

import tel


def log(level: int, message: str) -> None:
    pass


def open_producer(broker: str, client: str) -> tel.Producer:
    producer = tel.Producer({"kafka": {"bootstrap.servers": broker}}, log=log)
    producer.set_clients({"clients": [{"id": client}]})
    return producer


def child(broker: str, client: str, number: int) -> None:
    global producer
    producer = open_producer(broker, client)
    producer.submit_for(client, b"child %d" % number)


if __name__ == "__main__":
    broker, client, method = sys.argv[1:]
    producer = open_producer(broker, client)
    producer.submit_for(client, b"parent before")
    context = multiprocessing.get_context(method)
    children = [context.Process(target=child, args=(broker, client, number)) for number in range(3)]  # type: ignore[attr-defined]
    for process in children:
        process.start()
    for process in children:
        process.join()
    producer.submit_for(client, b"parent after")
    sys.exit(max(process.exitcode for process in children))
