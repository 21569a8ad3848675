"""Requests of every kind that a visitor, a crawler or an attacker sends, from raw sockets. The same ones every time."""

import random
import socket
import subprocess
import threading

AGENTS = [b"curl/7.88.1", b'Mozilla/5.0 (X11; "quoted" \\back\\slash)', "Ünïcode/1.0 日本".encode(), b"tab\there", b"\x80\xfe\xff", b" x  ", b""]
METHODS = [b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"PURGE", b"BREW"]
AUTHORIZATIONS = [b"Basic dXNlcjpwYXNz", b"basic dXNlcg==", b"Basic", b"Basic !!!", b"Basic dQ", b"Bearer abc", b"Basic " + b"QUJD" * 60,
                  b"Basic OmFub24=", b"Basic ImEiOmI="]


def _headers(r, host=True):
    lines = [b"Host: " + r.choice([b"www.example.com", b"EXAMPLE.com:8080", b'h"ost', b"http://odd"])] if host else []
    if r.random() < 0.8:
        lines.append(b"User-Agent: " + r.choice(AGENTS))
    if r.random() < 0.5:
        lines.append(b"REFERER:" + r.choice([b"http://a/b?c", b"  http://spaces/  ", b"x" * 300, b'"', b"http://a/\xc3\xa9"]))
    if r.random() < 0.3:
        lines.append(b"Authorization: " + r.choice(AUTHORIZATIONS))
    if r.random() < 0.2:
        lines += [b"X-Two: one", b"X-Two: two"]
    if r.random() < 0.1:
        lines.append(b"X-Huge: " + bytes(r.choices(b"abc\"\\ \xe9", k=6000)))
    if r.random() < 0.3:
        lines.append(b"Accept-Encoding: gzip")
    if r.random() < 0.1:
        lines.append(b"Client: acme\\r\\nacme GET / 200")
    return lines


def _url(r, path):
    query = r.choice([b"", b"", b"?", b"?a=b&c=d", b"?client=acme%0aacme", b"?q=%20?x", b"?" + b"u" * 900, b"?\xc3\xa9"])
    return path + query


def _request(r, method, path, headers=(), version=b"HTTP/1.1", body=b"", host=True):
    lines = [method + b" " + path + b" " + version, *_headers(r, host), *headers]
    if body or method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _plan(count, seed):
    """Pairs of a request and how the client behaves: read, leave or talk."""
    r = random.Random(seed)
    paths = [b"/a%d" % i for i in range(20)] + [b"/gzip", b"/twice", b"/long", b"/chunked", b"/private1", b"/gone", b"/error", b"/drop",
                                                 b"/etag", b"/esi", b"/late", b"/synth", b"/restart", b"/pass", b"/hfp", b"/log", b"/fail"]
    for _ in range(count):
        kind = r.random()
        path = _url(r, r.choice(paths))
        if kind < 0.55:
            yield _request(r, b"GET", path), "read"
        elif kind < 0.70:
            method = r.choice(METHODS)
            body = bytes(r.choices(b"body", k=r.randrange(500))) if method in (b"POST", b"PUT", b"PATCH") else b""
            yield _request(r, method, path, body=body), "read"
        elif kind < 0.76:
            ranges = [b"bytes=0-9", b"bytes=5-", b"bytes=-3", b"bytes=900000-", b"bytes=nonsense", b"bytes=0-0,5-6"]
            yield _request(r, b"GET", _url(r, b"/etag"), [b"Range: " + r.choice(ranges)]), "read"
        elif kind < 0.82:
            conditions = [b'If-None-Match: "e1"', b"If-Modified-Since: Thu, 01 Jan 2015 00:00:00 GMT", b'If-None-Match: "no"']
            yield _request(r, b"GET", _url(r, b"/etag"), [r.choice(conditions)]), "read"
        elif kind < 0.86:
            yield _request(r, b"GET", path, version=b"HTTP/1.0", host=r.random() < 0.3), "read"
        elif kind < 0.90:
            yield _request(r, b"GET", b"http://absolute.example" + path, host=False), "read"
        elif kind < 0.92:
            yield _request(r, b"GET", _url(r, b"/slow"), [b"X-N: %d" % r.randrange(1000)]), "leave"
        elif kind < 0.95:
            yield _request(r, b"GET", b"/ws?%d" % r.randrange(9), [b"Upgrade: echo", b"Connection: Upgrade"]), "talk"
        else:
            yield _request(r, b"GET", b"/synth/" + bytes(r.choices(b"%2f\"'{}<>\\", k=20)).replace(b"\\", b"%5c")), "read"


def _read_all(s):
    while s.recv(65536):
        pass


def _send(port, request, behaviour):
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        try:
            if behaviour == "read":
                s.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                _read_all(s)
            elif behaviour == "talk":
                s.sendall(request + b"some words\r\n")
                _read_all(s)
            else:
                s.sendall(request)
                s.recv(1000)
        except ConnectionError:
            pass


def run(port, count, seed=1, threads=8):
    """Sends `count` requests and returns when all are answered."""
    plan = list(_plan(count, seed))

    def part(n):
        for request, behaviour in plan[n::threads]:
            _send(port, request, behaviour)

    workers = [threading.Thread(target=part, args=(n,)) for n in range(threads)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    _keep_alive(port)
    _http2(port)
    return count


def _keep_alive(port):
    """Two pipelined requests on one connection."""
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(b"GET /a1 HTTP/1.1\r\nHost: h\r\n\r\nGET /a2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        _read_all(s)


def _http2(port):
    """Requests over HTTP/2, whose headers have another size. One a connection: curl and this varnishd fall out over the second."""
    paths = ["/a1", "/a2?q=h2", "/esi", "/restart", "/synth", "/gone", "/pass", "/late", "/gzip"]
    for more in ([], ["--compressed"], ["--head"], ["--request", "PUT", "--data", "b" * 3000], ["--range", "0-9"], ["--header", 'X-Two: "h2"']):
        for path in paths:
            done = subprocess.run(["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--output", "/dev/null", *more,
                                   f"http://127.0.0.1:{port}{path}"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
            assert done.returncode == 0, f"curl {' '.join(more)} {path}: {done.stderr}"
