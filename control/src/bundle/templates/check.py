#!/usr/bin/env python3
"""Says what is wrong, if something is: files, dates, DNS, network, TLS, rights, group name.

Needs Python 3.6 or later and nothing else. It reads nothing but a line or two, and joins no consumer group.

    ./check                      everything
    ./check --group @ID@:mine    and whether this name is allowed for a consumer group
    ./check --wait 0             no second tries (by default the rights of a new credential have 20 seconds to reach all brokers)

Exit code: 0 all is well, else the first problem's:
    10  a file in certs/ is missing or unreadable, or key and certificate are not a pair
    11  a certificate has expired, or is not valid yet (see the clock, too)
    12  DNS: a broker's name is unknown here
    13  network: a broker's port cannot be reached (a firewall, most often)
    14  TLS: the broker shows a certificate that certs/ca.pem does not vouch for
    15  TLS: the broker refuses the certificate of this bundle
    16  no right to read the topic: the credential has been revoked, or another's certificate is in certs/
    17  the topic is not there: the subscription has ended
    18  the group's name is not allowed: it must begin with "@ID@:"
    19  something else, shown as it came
    64  wrong use of this script
"""
import argparse
import datetime
import os
import socket
import ssl
import stat
import struct
import sys
import time

ID = "@ID@"
TOPIC = "@TOPIC@"
BOOTSTRAP = "@BOOTSTRAP@"

FILES, DATES, DNS, NETWORK, UNTRUSTED, REFUSED, NO_RIGHT, NO_TOPIC, GROUP, OTHER = range(10, 20)
TIMEOUT = 10
CERTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "certs")
FETCH, LIST_OFFSETS, METADATA, FIND_COORDINATOR = 1, 2, 3, 10


class Problem(Exception):
    def __init__(self, code, what, advice):
        super().__init__(what)
        self.code, self.what, self.advice = code, what, advice


def say(mark, what):
    print("%-5s %s" % (mark, what), flush=True)


# -- Files and certificates ------------------------------------------------------------------------------------------------------


def element(data, at):
    """One element of DER: its tag, and where its contents begin and end."""
    tag, length, at = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[at:at + count], "big"), at + count
    return tag, at, at + length


def children(data, start, end):
    while start < end:
        tag, first, last = element(data, start)
        yield tag, first, last
        start = last


def moment(data, item):
    tag, start, end = item
    text = data[start:end].decode("ascii").rstrip("Z")
    if tag == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=datetime.timezone.utc)


def certificate(pem):
    """The common name of a certificate's subject, and from when until when it is valid."""
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE"):pem.index("-----END CERTIFICATE-----") + 25])
    _, start, end = element(der, 0)
    _, start, end = element(der, start)
    fields = [field for field in children(der, start, end) if field[0] != 0xA0]
    first, last = [moment(der, item) for item in children(der, *fields[3][1:])]
    name = ""
    for _, start, end in children(der, *fields[4][1:]):
        for _, pair, stop in children(der, start, end):
            kind, value = list(children(der, pair, stop))
            if der[kind[1]:kind[2]] == b"\x55\x04\x03":
                name = der[value[1]:value[2]].decode("utf-8", "replace")
    return name, first, last


def read(name):
    path = os.path.join(CERTS, name)
    try:
        with open(path) as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        advice = "Unpack the zip again."
        if name == "client.key":
            advice = "Put your private key there, or make a new credential and download its bundle: keys are handed out once."
        raise Problem(FILES, "%s: %s" % (path, error), advice)


def no_password():
    raise ValueError("it is encrypted with a password, which the examples here do not give")


def check_files():
    pems = {name: read(name) for name in ("ca.pem", "client.pem", "client.key")}
    for name in ("client.key", "client.p12", "client.p12.password"):
        path = os.path.join(CERTS, name)
        if os.path.exists(path) and stat.S_IMODE(os.stat(path).st_mode) & 0o077:
            say("note", "others on this machine can read certs/%s: chmod 600 certs/%s" % (name, name))
    now = datetime.datetime.now(datetime.timezone.utc)
    for name in ("client.pem", "ca.pem"):
        try:
            subject, first, last = certificate(pems[name])
        except (ValueError, IndexError):
            raise Problem(FILES, "certs/%s is no PEM certificate" % name, "Unpack the zip again.")
        span = "certs/%s (CN=%s) is valid from %s to %s" % (name, subject, first.date(), last.date())
        if not first <= now <= last:
            advice = "Make a new credential and download its bundle." if now > last else "Set this machine's clock."
            raise Problem(DATES, "%s, and it is %s" % (span, now.strftime("%Y-%m-%d %H:%M UTC")), advice)
        say("ok", "%s: %d days left" % (span, (last - now).days))
        if name == "client.pem" and subject.rpartition(":")[0] != ID:
            say("note", "that certificate is not one of %s" % ID)
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=os.path.join(CERTS, "ca.pem"))
        context.load_cert_chain(os.path.join(CERTS, "client.pem"), os.path.join(CERTS, "client.key"), no_password)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise Problem(FILES, "certs/client.key and certs/client.pem are not a pair that can be used: %s" % error,
                      "Take both from the same download.")
    say("ok", "key and certificate are a pair")
    return context


# -- Kafka's protocol, the little that is needed ---------------------------------------------------------------------------------


def text(value):
    value = value.encode()
    return struct.pack(">h", len(value)) + value


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def text(self):
        length = self.take("h")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at].decode("utf-8", "replace")

    def each(self):
        return range(max(0, self.take("i")))


class Broker:
    """A connection, made anew for each step: there are few."""

    def __init__(self, context, host, port):
        self.where = "%s:%d" % (host, port)
        try:
            addresses = sorted({info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
        except OSError as error:
            raise Problem(DNS, "%s: the name is unknown here: %s" % (host, error),
                          "Ask the DNS server that this machine uses, or whoever runs it. Brokers are also met under names of their own, "
                          "not only under the first one.")
        try:
            plain = socket.create_connection((host, port), TIMEOUT)
        except OSError as error:
            raise Problem(NETWORK, "%s (%s): %s" % (self.where, ", ".join(addresses), error),
                          "Connections from here to this port must be allowed, on all firewalls between.")
        try:
            self.socket = context.wrap_socket(plain, server_hostname=host)
        except ssl.SSLError as error:
            plain.close()
            reason = error.reason or str(error)
            if "ALERT" in reason:
                raise self.refused(error)
            if getattr(error, "verify_message", ""):
                raise Problem(UNTRUSTED, "%s: its certificate is not trusted: %s" % (self.where, error.verify_message),
                              "Something else answers there (a proxy?), or the brokers have a new authority: download a new bundle.")
            raise Problem(UNTRUSTED, "%s does not speak TLS as expected: %s" % (self.where, reason), "Is the port right?")
        except OSError as error:
            plain.close()
            raise Problem(NETWORK, "%s: %s while TLS was set up" % (self.where, error or type(error).__name__),
                          "Something between here and the broker cuts the connection.")

    def refused(self, error):
        return Problem(REFUSED, "%s refuses the certificate in certs/client.pem: %s" % (self.where, getattr(error, "reason", "") or error),
                       "It has expired, or these brokers do not know its authority. Make a new credential and download its bundle.")

    def ask(self, key, version, body):
        request = struct.pack(">hhi", key, version, 1) + text("check") + body
        try:
            self.socket.sendall(struct.pack(">i", len(request)) + request)
            answer = self.exactly(struct.unpack(">i", self.exactly(4))[0])
        except socket.timeout:
            raise Problem(OTHER, "%s does not answer" % self.where, "Try again; then ask who runs the brokers.")
        except (ssl.SSLError, ConnectionError) as error:
            # With TLS 1.3 a client hears of its certificate's refusal only now.
            raise self.refused(error)
        return Reader(answer[4:])

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the connection was closed")
            data += part
        return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def kafka(code, what):
    """A Kafka error code as a problem."""
    if code in (29, 31):
        return Problem(NO_RIGHT, "no right to read %s (error %d)" % (what, code),
                       "The credential has been revoked, or certs/ holds another client's. Make a new credential and download its bundle.")
    if code == 3:
        return Problem(NO_TOPIC, "%s is not there" % what, "The subscription has ended: subscribe again.")
    if code == 30:
        return Problem(GROUP, "group %s is refused" % what, "Names of groups must begin with \"%s:\"." % ID)
    return Problem(OTHER, "%s: Kafka's error %d" % (what, code), "Try again; then ask who runs the brokers.")


def metadata(broker):
    answer = broker.ask(METADATA, 4, struct.pack(">i", 1) + text(TOPIC) + b"\0")
    answer.take("i")
    brokers, partitions = {}, []
    for _ in answer.each():
        node = answer.take("i")
        brokers[node] = (answer.text(), answer.take("i"))
        answer.text()
    answer.text()
    answer.take("i")
    for _ in answer.each():
        error = answer.take("h")
        answer.text()
        answer.take("?")
        if error:
            raise kafka(error, "topic " + TOPIC)
        for _ in answer.each():
            _, partition, leader = answer.take("hii")
            for _ in range(2):
                for _ in answer.each():
                    answer.take("i")
            partitions.append((partition, leader))
    return brokers, sorted(partitions)


def offset(broker, partition, when):
    """The first (when -2) or next (-1) offset of a partition."""
    ask = struct.pack(">ii", -1, 1) + text(TOPIC) + struct.pack(">iiq", 1, partition, when)
    answer = broker.ask(LIST_OFFSETS, 1, ask)
    answer.take("i")
    answer.text()
    _, _, error, _, found = answer.take("iihqq")
    if error:
        raise kafka(error, "topic %s, partition %d" % (TOPIC, partition))
    return found


def fetch(broker, partition, at):
    ask = struct.pack(">iiiibi", -1, 100, 0, 1, 0, 1) + text(TOPIC) + struct.pack(">iiqi", 1, partition, at, 1)
    answer = broker.ask(FETCH, 4, ask)
    answer.take("ii")
    answer.text()
    _, _, error = answer.take("iih")
    if error:
        raise kafka(error, "topic %s, partition %d" % (TOPIC, partition))


# -- The steps -------------------------------------------------------------------------------------------------------------------


def check_bootstrap(context):
    """Connects to each address; one that works is enough."""
    works, problems = None, []
    for address in BOOTSTRAP.split(","):
        host, _, port = address.rpartition(":")
        try:
            with Broker(context, host.strip("[]"), int(port)) as broker:
                say("ok", "%s: name, port and certificate" % broker.where)
            works = works or (host.strip("[]"), int(port))
        except Problem as problem:
            problems.append(problem)
    if not works:
        raise problems[0]
    for problem in problems:
        say("note", "%s (the other addresses are enough)" % problem.what)
    return works


def check_topic(context, bootstrap):
    with Broker(context, *bootstrap) as broker:
        brokers, partitions = metadata(broker)
    lines = 0
    for partition, leader in partitions:
        if leader not in brokers:
            raise Problem(OTHER, "topic %s, partition %d has no leader now" % (TOPIC, partition), "Wait; then ask who runs the brokers.")
        with Broker(context, *brokers[leader]) as broker:
            first, following = offset(broker, partition, -2), offset(broker, partition, -1)
            fetch(broker, partition, first)
            lines += following - first
    say("ok", "topic %s: may be read; partitions: %d, lines kept: %d" % (TOPIC, len(partitions), lines))
    if not lines:
        say("note", "no lines yet: there was no traffic for %s, or the edges are still being told" % ID)


def check_group(context, bootstrap, group):
    with Broker(context, *bootstrap) as broker:
        answer = broker.ask(FIND_COORDINATOR, 1, text(group) + b"\0")
    _, error = answer.take("ih")
    # 14 to 16: the groups are being set up, which is no refusal.
    if error and error not in (14, 15, 16):
        raise kafka(error, "\"%s\"" % group)
    say("ok", "group \"%s\": allowed" % group)


def patiently(step, deadline):
    while True:
        try:
            return step()
        except Problem as problem:
            if problem.code not in (NO_RIGHT, NO_TOPIC, GROUP) or time.monotonic() > deadline:
                raise
        time.sleep(1)


def main():
    parser = argparse.ArgumentParser(description="Says what is wrong with the way to your log lines, if something is.")
    parser.add_argument("--group", default=ID + ":check", help="a consumer group's name to check")
    parser.add_argument("--wait", type=float, default=20, metavar="SECONDS", help="how long new rights may take (20)")
    try:
        options = parser.parse_args()
    except SystemExit as end:
        return 64 if end.code else 0
    deadline = time.monotonic() + options.wait
    try:
        context = check_files()
        bootstrap = check_bootstrap(context)
        patiently(lambda: check_topic(context, bootstrap), deadline)
        if not options.group.startswith(ID + ":"):
            raise kafka(30, "\"%s\"" % options.group)
        patiently(lambda: check_group(context, bootstrap, options.group), deadline)
    except Problem as problem:
        say("WRONG", problem.what)
        say("", problem.advice)
        return problem.code
    except (OSError, struct.error) as error:
        say("WRONG", "%s: %s" % (type(error).__name__, error))
        return OTHER
    say("ok", "all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
