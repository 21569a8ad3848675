"""Whether what the panel shows is what happens: nothing is shown as done before it is, nor much later."""

import threading
import time
from pathlib import Path

import rights
from system import Failed, wait_for

# The panel is behind by no more than this.
LATE_S = 2
# The broker makes the partition's folder a moment after the controller has made the topic.
BROKER_HEARS_S = 1
# Those of a client's certificate: on its topic and on its groups.
RIGHTS = 2
LOOK_S = 0.05


def administrator(system):
    files = [system.kafka.pki / name for name in ["admin.crt", "admin.key", "ca.pem"]]
    return rights.Holder("admin", Path("/"), files, system.kafka.servers)


class Granted:
    """When a principal got its rights in Kafka, looked at while the block runs."""

    def __init__(self, system, principal):
        self.ask, self.over = administrator(system).count_rights(principal), threading.Event()
        # It had none before the one, and all at the other.
        self.absent, self.present = time.time(), None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.over.wait(LOOK_S):
            asked = time.time()
            if self.ask() == RIGHTS:
                self.present = time.time()
                return
            self.absent = asked

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def check(system, id, client, browser, shown, downloaded, granted):
    """`shown`: when the service was first shown as active; `downloaded`: when the download was clicked on."""
    written = [(edge.folder / "clients.json").stat().st_mtime for edge in system.edges]
    partition = system.kafka.folder / "data" / f"{client['topic']}-0" / "partition.metadata"
    made, listed, last = partition.stat().st_mtime, listed_at(system, id), max(written)
    if granted.present is None:
        raise Failed(f"{id}: its certificate has no rights in Kafka")
    # All that is to be shown in the end is, by now or a moment later.
    progress = wait_for(f"{id}: all steps are shown as done", lambda: all_done(browser.progress()), LATE_S)

    def first_done(step):
        return next(at for at, is_done in progress[step] if is_done)

    timely(id, "topic", first_done("topic"), made - BROKER_HEARS_S, made)
    timely(id, "list", first_done("list"), listed, listed)
    timely(id, "edges", first_done("edges"), last, last)
    timely(id, "the service", shown, last, last)
    # Before there was a certificate, nothing had to be given.
    again = [at for at, is_done in progress["acls"] if is_done and at > downloaded]
    if again:
        timely(id, "acls", again[-1], granted.absent, granted.present)
    elif granted.present - downloaded > LATE_S:
        took = granted.present - downloaded
        raise Failed(f"{id}: the panel showed rights as done for {took:.3f} s in which they were not")
    if client["edges"] != {"current": len(system.edges), "known": len(system.edges)}:
        raise Failed(f"{id}: not all edges count: {client['edges']}")


def all_done(progress):
    steps = ["topic", "acls", "list", "edges"]
    return progress if all(progress.get(step) and progress[step][-1][1] for step in steps) else None


def timely(id, what, shown, earliest, latest):
    if shown < earliest:
        raise Failed(f"{id}: the panel showed {what} as done {earliest - shown:.3f} s before it was")
    if shown > latest + LATE_S:
        raise Failed(f"{id}: the panel showed {what} as done {shown - latest:.3f} s after it was")


def listed_at(system, id):
    """When the record that lists the client was written, by its own timestamp."""
    reader = administrator(system)
    return wait_for(f"{id} in tel.clients", lambda: reader.written_at("tel.clients", id.encode()))
