"""The same traffic through nginx's own access_log and through tel_log: the same bytes, in the same order."""

import concurrent.futures
import random
import socket
import ssl
import subprocess
import time
import unittest

from support import PATIENCE, Kafka, Nginx, wait_for

# Every variable of nginx that a log can have, but for what changes while a request is logged (tcpinfo_*).
VARIABLES = """
    pipe time_local time_iso8601 msec request_time status bytes_sent body_bytes_sent request_length
    http_host http_user_agent http_referer http_via http_x_forwarded_for http_cookie http_x_odd http_x_one http_accept_encoding
    content_length content_type host remote_addr remote_port proxy_protocol_addr proxy_protocol_port
    proxy_protocol_server_addr proxy_protocol_server_port server_addr server_port server_protocol scheme https
    request_uri uri document_uri request document_root realpath_root query_string args is_args request_filename
    server_name request_method remote_user request_completion request_body request_body_file request_id
    sent_http_content_type sent_http_content_length sent_http_location sent_http_last_modified sent_http_connection
    sent_http_keep_alive sent_http_transfer_encoding sent_http_cache_control sent_http_link sent_http_etag
    sent_http_x_cached sent_trailer_x_nothing limit_rate connection connection_requests connection_time nginx_version
    hostname pid cookie_c cookie_none arg_a arg_b arg_none
    upstream_addr upstream_status upstream_connect_time upstream_header_time upstream_response_time
    upstream_response_length upstream_bytes_received upstream_bytes_sent upstream_cache_status
    upstream_http_content_type upstream_http_x_odd upstream_cookie_u upstream_trailer_t
    proxy_host proxy_port proxy_add_x_forwarded_for gzip_ratio invalid_referer realip_remote_addr realip_remote_port
    http2 limit_conn_status limit_req_status secure_link secure_link_expires slice_range modern_browser ancient_browser
    msie memcached_key date_local date_gmt uid_got uid_set uid_reset
    ssl_protocol ssl_cipher ssl_ciphers ssl_session_id ssl_session_reused ssl_server_name ssl_client_verify
    ssl_early_data ssl_curves ssl_curve ssl_alpn_protocol
    mapped mapped_volatile geo split binary_remote_addr
""".split()

# What a line ends with, with what is before it: 14 bytes, 15 and others. A value may have a newline inside where nothing is escaped.
END = "<end>"
FORMATS = ("default", "json", "none", "combined", "odd", "text")

HTTP = """
    default_type text/plain; types { text/html html; text/plain txt; }
    log_format odd "[$status]" "" ' ${status}x$status$status' "$remote_addr\\"'3456789<end>";
    log_format text escape=json "nothing of a request<end>";
    tel_producer edge config=edge.json;

    map $http_x_odd $mapped { default "a\\"b\\\\c"; "" ""; ~. $http_x_odd; }
    map $request_time$arg_a $mapped_volatile { volatile; default "<$bytes_sent>"; }
    geo $geo { default other; 127.0.0.0/8 "local\\"host"; }
    split_clients $request_id $split { 50% ".a"; * ""; }
    limit_req_zone $binary_remote_addr zone=req:1m rate=10000r/s;
    limit_conn_zone $binary_remote_addr zone=con:1m;
    proxy_cache_path @FOLDER@/cache keys_zone=cache:1m;
    client_header_buffer_size 1k; large_client_header_buffers 4 16k; client_max_body_size 100k;
    keepalive_timeout 1s; client_header_timeout 1s; client_body_timeout 1s; send_timeout 1s; lingering_close off;
    proxy_connect_timeout 1s; gzip on; gzip_min_length 0; gzip_types text/plain; underscores_in_headers on;
    add_header X-Sent $bytes_sent/$body_bytes_sent/$pipe/$request_length always;
    userid on; userid_name uid;
    LOGS

    server {
        listen 127.0.0.1:@PORT0@; listen 127.0.0.1:@PORT1@ ssl http2; listen 127.0.0.1:@PORT2@ proxy_protocol;
        server_name main.example *.example;
        ssl_certificate @FOLDER@/cert.pem; ssl_certificate_key @FOLDER@/key.pem;
        root @FOLDER@/www; error_page 404 /missing.html; error_page 405 =200 /a.txt; error_page 502 504 @failed;
        set_real_ip_from 127.0.0.1; real_ip_header X-Real-Ip;
        secure_link $arg_md5; secure_link_md5 "k$uri";
        limit_req zone=req burst=1000; limit_conn con 500;
        location = /missing.html { internal; return 404 "no\\"thing"; }
        location @failed { return 503 failed; }
        location /proxy/ { proxy_pass http://127.0.0.1:@PORT3@/; proxy_set_header X-Odd $http_x_odd; }
        location /cached/ { proxy_pass http://127.0.0.1:@PORT3@/; proxy_cache cache; proxy_cache_valid 1m;
                            add_header X-Cached $upstream_cache_status; }
        location /dead/ { proxy_pass http://127.0.0.1:1/; }
        location /two/ { proxy_pass http://two; }
        location /slow/ { proxy_pass http://127.0.0.1:@PORT3@/; limit_rate 20k; }
        location /moved { return 301 /else$is_args$args; }
        location /rewritten { rewrite ^/rewritten/(.*)$ /$1 last; }
        location /tried { try_files $uri /a.txt; }
        location /named { try_files $uri @failed; }
        location /accel { proxy_pass http://127.0.0.1:@PORT3@/accel; }
        location /inside { internal; alias @FOLDER@/www; }
        location /ssi { ssi on; ssi_types text/plain; log_subrequest on; }
        location /added { add_before_body /a.txt; add_after_body /proxy/x; }
        location /auth { auth_request /proxy/x; log_subrequest on; }
        location /denied { deny all; }
        location /basic { auth_basic x; auth_basic_user_file @FOLDER@/htpasswd; }
        location /dav { dav_methods PUT DELETE MKCOL COPY MOVE; client_body_in_file_only on; }
        location /body { proxy_pass http://127.0.0.1:@PORT3@/; client_body_buffer_size 64k; }
        location /gone { return 444; }
        location /sent { return 200 "$bytes_sent$body_bytes_sent$status$pipe\\n"; }
        location /tel { tel_status; access_log off; tel_log off; }
        location /stub { stub_status; access_log off; tel_log off; }
    }
    upstream two { server 127.0.0.1:1 max_fails=0; server 127.0.0.1:@PORT3@ max_fails=0; }
    server {
        listen 127.0.0.1:@PORT3@; access_log off; tel_log off;
        location / { add_header X-Odd "back\\\\\\"slash"; add_header Set-Cookie "u=1"; return 200 "behind $uri\\n"; }
        location /b { return 200 "@BIG@"; }
        location /accel { add_header X-Accel-Redirect /inside/a.txt; return 200; }
        location /error { return 500 "oh"; }
    }
"""

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "MKCOL", "COPY", "MOVE", "PROPFIND", "LOCK",
           "TRACE", "CONNECT", "BREW", "get", "G")

PATHS = ("/", "/a.txt", "/big.txt", "/empty.txt", "/none", "/proxy/x", "/proxy/b", "/proxy/error", "/cached/y",
         "/cached/z", "/dead/", "/two/", "/moved", "/rewritten/a.txt", "/tried/no", "/named/no", "/accel", "/inside",
         "/ssi/page.txt", "/added/a.txt", "/auth/a.txt", "/denied", "/basic/a.txt", "/body", "/gone", "/sent",
         "/%41.txt", "/a.txt/", "/..%2f..%2f/etc", "/../..", "/%00", "/%zz", "/a%0ab", "/a%0d%0aX:%20y", "/a b",
         "/\u00fc\u4e2d".encode(), "/%C3%BC%e4%b8%ad", b"/\xff\xfe", b"/\x7f", b"/\x01", '/"quoted"\\', "/{$host}$uri",
         "//a//../a.txt", "/a.txt#x", "*", "http://main.example/a.txt", "/" + "l" * 3000, "/" + "%20" * 1500,
         "/" + '"' * 700, "/" + "\u4e2d" * 600)

HEADERS = ("X-Odd: plain", 'X-Odd: "q" \\ back', b"X-Odd: \xc3\xbc\xff", b"X-Odd: tab\there", "X-Odd:", "X-Odd: " + "o" * 9000,
           b"X-Odd: " + b"\xe4\xb8\xad" * 2500, b"X-Odd: \x02\x1f\x7f", b"X-Odd: nul\0nul", "x_odd: under",
           "Referer: http://r/?\"a\"", "User-Agent: Mozilla/5.0 (X11; \\x41)", b"User-Agent: \xf0\x9f\x90\xb1", "User-Agent:",
           "Cookie: c=1; d=\"2\"; uid=AAAA", "Cookie: c=\u00e9".encode(), "X-Forwarded-For: 1.2.3.4, x", "Via: 1.1 v",
           "X-Real-Ip: 192.0.2.7", "X-Real-Ip: not an address", "Accept-Encoding: gzip", "Range: bytes=0-9",
           "Range: bytes=5-", "Range: bytes=-5,1-2", "Range: bytes=99999999-", "If-None-Match: *",
           "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
           "Authorization: Basic dTpw", "Authorization: Basic %%%", "Expect: 100-continue", "Expect: else",
           "Transfer-Encoding: nonsense", "Content-Length: nonsense", "Content-Type: \"x\"", "Destination: /dav/y",
           "Host: other.example", "Host: bad host", "no colon", ": no name", "Bad Name: x", " folded: x")

QUERIES = ("", "?", "?a=1&b=2", "?a=%22&b=%0a%0d%00", '?a="\\', "?a=\u00fc", "?a=" + "x" * 2000)


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def odd_one(number):
    """A value with one byte that may have to be escaped: with enough numbers, of every length and at every place."""
    length = number % 50
    value = bytearray(b"v" * length)
    if length:
        value[number // 50 % length] = b"\"\\\x01\x1f\x7f\x80\xff ~"[number % 9]
    return bytes(value)


def requests(rng, number):
    """Requests of every kind, the hostile ones too, each as bytes."""
    for each in range(number):
        method = as_bytes(rng.choice(METHODS) if rng.random() < 0.4 else "GET")
        path = as_bytes(rng.choice(PATHS))
        if rng.random() < 0.3 and b"?" not in path:
            path += as_bytes(rng.choice(QUERIES))
        if rng.random() < 0.02:
            yield b"GET " + path + b"\r\n"  # HTTP/0.9
            continue
        if rng.random() < 0.02:
            yield rng.choice((b"\r\n\r\n", b"\x16\x03\x01\x02", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"G\0T / HTTP/1.0\r\n\r\n",
                              b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.0\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
                              b"GET /" + b"u" * 20000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            continue
        headers = [as_bytes(rng.choice(HEADERS)) for _ in range(rng.randrange(5))]
        headers.append(b"X-One: " + odd_one(each))
        if not any(h.startswith(b"Host:") for h in headers):
            headers.append(b"Host: main.example")
        body = b""
        if method in (b"POST", b"PUT", b"PATCH"):
            if rng.random() < 0.5:
                body = rng.choice((b"x=1&y=2", b'{"a": "\xc3\xbc\\"}\n', b"z" * 30000, b"", b"\0\1\2"))
                headers.append(b"Content-Length: %d" % len(body))
            else:
                body = b"5\r\nhello\r\n0\r\n\r\n"
                headers.append(b"Transfer-Encoding: chunked")
        version = rng.choice((b"1.1", b"1.1", b"1.0"))
        headers.append(b"Connection: close")
        yield method + b" " + path + b" HTTP/" + version + b"\r\n" + b"\r\n".join(headers) + b"\r\n\r\n" + body


def one_line(text):
    """Kafka has it as one line: contract of libtel for CR, LF and NUL."""
    return text.replace(b"\r", b"\\r").replace(b"\n", b"\\n").replace(b"\0", b"\\0")


class Parity(unittest.TestCase):
    REQUESTS = 3000

    @classmethod
    def setUpClass(cls):
        cls.kafka = Kafka.shared()
        cls.kafka.topics(f"parity-{name}" for name in FORMATS)

    def nginx(self):
        formats = "".join(f"log_format {name} escape={name} '" + "|".join(
            f"{v}=${v}" if i % 2 else f"{v}=${{{v}}}" for i, v in enumerate(self.known)) + f"|123456789{END}';\n"
            for name in ("default", "json", "none"))
        logs = "".join(f"access_log @FOLDER@/{name}.log {name}; tel_log edge {name} client=parity-{name};\n"
                       for name in FORMATS)
        return Nginx(formats + HTTP.replace("LOGS", logs), clients=[f"parity-{n}" for n in FORMATS], ports=4, producers={
            "edge": {"kafka": {"bootstrap.servers": self.kafka.servers, "linger.ms": 50, "message.max.bytes": 5000000,
                               "broker.address.family": "v4"},
                     "queue.max_line_bytes": 1 << 20, "queue.bytes": 32 << 20, "batches.bytes": 256 << 20}})

    def files(self, nginx):
        www = nginx.folder / "www"
        for name in ("ssi", "added", "auth", "basic", "dav", "tmp"):
            (www / name).mkdir(parents=True)
        (www / "a.txt").write_text("a\n" * 50)
        (www / "big.txt").write_text("big and compressible\n" * 20000)
        (www / "empty.txt").write_text("")
        (www / "ssi/page.txt").write_text('<!--#include virtual="/a.txt" --><!--#include virtual="/proxy/x?q" -->\n')
        for name in ("added", "auth", "basic"):
            (www / name / "a.txt").write_text(name)
        (nginx.folder / "htpasswd").write_text("u:{PLAIN}p\n")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=main.example", "-days", "2",
                        "-keyout", nginx.folder / "key.pem", "-out", nginx.folder / "cert.pem"],
                       check=True, stderr=subprocess.DEVNULL)
        conf = nginx.folder / "nginx.conf"
        conf.write_text(conf.read_text().replace("@BIG@", "b" * 3000))

    def traffic(self, nginx, rng):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def send(numbered):
            number, data = numbered
            kind = number % 20
            if kind == 0:  # goes away without waiting
                nginx.raw(data, abort=True)
            elif kind == 1:
                nginx.raw(b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n" + data, port=nginx.ports[2])
            elif kind == 2:
                plain = socket.create_connection(("127.0.0.1", nginx.ports[1]), PATIENCE)
                nginx.raw(data, connection=context.wrap_socket(plain, server_hostname="main.example"))
            elif kind == 3:  # several on one connection, sent at once
                nginx.raw(b"GET /a.txt HTTP/1.1\r\nHost: main.example\r\n\r\n" * 3 + data)
            elif kind == 4 and b"\r\n\r\n" in data:  # half a request
                nginx.raw(data[:len(data) // 2], abort=True)
            elif kind == 5:  # a large file, and away
                nginx.raw(b"GET /big.txt HTTP/1.1\r\nHost: main.example\r\n\r\n", abort=True)
            else:
                nginx.raw(data)

        # Some requests are never complete, and nginx waits for them: many at a time.
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for _ in pool.map(send, enumerate(requests(rng, self.REQUESTS))):
                pass
        for path in ("/a.txt", "/proxy/x", "/big.txt", "/none?a=%22", "/ssi/page.txt"):
            subprocess.run(["curl", "-sk", "--http2", "-o", "/dev/null", "-o", "/dev/null", "--compressed",
                            f"https://127.0.0.1:{nginx.ports[1]}{path}", f"https://127.0.0.1:{nginx.ports[1]}{path}"],
                           timeout=PATIENCE)

    def test_every_format_and_escape(self):
        self.known = variables_of_this_nginx()
        nginx = self.nginx()
        self.files(nginx)
        with nginx:
            self.traffic(nginx, random.Random(20251121))

            def lines(name):
                data = (nginx.folder / f"{name}.log").read_bytes()
                end = b"\n" if name == "combined" else END.encode() + b"\n"
                parts = data.split(end)
                self.assertEqual(parts.pop(), b"")
                return [one_line(p + end[:-1]) for p in parts]

            # Requests of clients that went away may still be under way.
            active = b"Active connections: 1 "
            wait_for("nginx is idle", lambda: nginx.get("/stub").startswith(active))
            nginx.settled(sum(len(lines(name)) for name in FORMATS))
            statuses = {}
            for name in FORMATS:
                own, ours = lines(name), self.kafka.read(f"parity-{name}")
                self.assertEqual(len(own), len(ours), name)
                for number, (a, b) in enumerate(zip(own, ours)):
                    self.assertEqual(a, b, f"{name}, line {number}")
                print(f"parity: {name}: {len(own)} lines, {sum(map(len, own))} bytes, the longest of "
                      f"{max(map(len, own))}, identical", flush=True)
                if name == "combined":
                    for line in own:
                        status = line.split(b'" ')[1].split(b" ")[0] if b'" ' in line else b"?"
                        statuses[status] = statuses.get(status, 0) + 1
            print("parity: statuses", {k.decode(): v for k, v in sorted(statuses.items())}, flush=True)
            # The traffic is what it claims to be.
            for status in (b"200", b"206", b"301", b"304", b"400", b"403", b"404", b"414", b"416", b"499"):
                self.assertIn(status, statuses)


def variables_of_this_nginx():
    """Those of VARIABLES that this nginx knows: some came and went with versions and modules."""
    known = []
    unknown = set()
    while True:
        known = [v for v in VARIABLES if v not in unknown]
        probe = Nginx("map $host $mapped { default x; } map $host $mapped_volatile { default x; }"
                      " geo $geo { default x; } split_clients $host $split { * x; }"
                      " log_format p '" + "".join(f"${{{v}}}" for v in known) + "'; access_log off;"
                      " server { listen 127.0.0.1:@PORT@; location / { proxy_pass http://127.0.0.1:1; } }"
                      " access_log @FOLDER@/p p;")
        status, said = probe.test()
        if status == 0:
            if unknown:
                print("parity: this nginx does not know", " ".join(sorted(unknown)))
            return known
        name = said.split('unknown "')[1].split('"')[0]
        assert name not in unknown, said
        unknown.add(name)


if __name__ == "__main__":
    unittest.main()
