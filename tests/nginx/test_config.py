"""What nginx -t says, what it leaves alone, and which tel_log is whose."""

import json
import os
import socket
import unittest

from support import Nginx, wait_for

EMBEDDED = {"embedded_broker": True, "kafka": {"linger.ms": 20}}
SERVER = "access_log off; server { listen 127.0.0.1:@PORT@; location / { return 200; } %s }"


class Checked(unittest.TestCase):
    def says(self, http, *words, producers=None, ok=False):
        nginx = Nginx(http + SERVER % "", producers=producers or {"edge": EMBEDDED})
        status, said = nginx.test()
        self.assertEqual(status == 0, ok, said)
        for word in words:
            self.assertIn(word, said.replace(str(nginx.folder), "FOLDER"))
        return said

    def test_a_right_one(self):
        self.says("tel_producer edge config=edge.json; tel_log edge combined client=$host if=$arg_x;", ok=True)
        self.says("tel_producer edge config=@FOLDER@/edge.json; tel_log edge Combined client=${host};", ok=True)
        self.says("tel_producer edge config=edge.json; tel_log edge combined client=c83;", ok=True)
        self.says("tel_producer edge config=edge.json; tel_log off;", ok=True)
        self.says("tel_producer edge config=edge.json; server { location ~ ^/(..) { tel_log edge combined client=$1x; } }", ok=True)
        self.says("", ok=True)

    def test_a_wrong_configuration_names_file_line_and_reason(self):
        for config, reason in (({"kafka": {}}, "bootstrap.servers"),
                               ({"embedded_broker": True, "no.such.key": 1}, "no.such.key"),
                               ({"embedded_broker": True, "queue.bytes": "many"}, "queue.bytes"),
                               ({"kafka": {"bootstrap.servers": "h:1", "ssl.ca.location": "/none.pem"}}, "/none.pem"),
                               ({"kafka": {"bootstrap.servers": "h:1", "nonsense": "1"}}, "nonsense")):
            with self.subTest(reason=reason):
                self.says("\n\ntel_producer edge config=edge.json;", reason, "FOLDER/edge.json", "FOLDER/nginx.conf:",
                          producers={"edge": config})

    def test_a_file_that_is_no_json(self):
        nginx = Nginx("tel_producer edge config=edge.json;" + SERVER % "")
        for text, reason in ((b'{"kafka": \n\n oops}', "line 3"), (b"", "edge.json"), (b'{"kafka"\0: {}}', "NUL")):
            (nginx.folder / "edge.json").write_bytes(text)
            status, said = nginx.test()
            self.assertEqual(status, 1)
            self.assertIn(reason, said)
        (nginx.folder / "edge.json").unlink()
        self.assertIn("No such file", nginx.test()[1])
        # A pipe that nobody writes to, too, is refused at once: the master reads it while it reloads.
        for make, reason in (((nginx.folder / "edge.json").mkdir, 'edge.json" is no regular file'),
                             (lambda: os.mkfifo(nginx.folder / "fifo.json"), 'fifo.json" is no regular file'),
                             (lambda: (nginx.folder / "long.json").write_bytes(b" " * ((1 << 20) + 1)), 'long.json" is longer than 1 MiB')):
            make()
            nginx.write_conf(f"tel_producer edge config={reason.split(chr(34))[0]};" + SERVER % "")
            status, said = nginx.test()
            self.assertEqual(status, 1)
            self.assertIn(reason, said)

    def test_wrong_directives(self):
        edge = "tel_producer edge config=edge.json;"
        for http, reason in (
                ("tel_producer edge file=edge.json;", 'invalid parameter "file=edge.json"'),
                ("tel_producer edge config=;", "invalid parameter"),
                ("tel_producer 'a b' config=edge.json;", "a b"),
                (edge + edge, 'duplicate tel_producer "edge"'),
                (edge + "tel_log other combined client=$host;", 'unknown tel_producer "other"'),
                (edge + "tel_log edge nope client=$host;", 'unknown log format "nope"'),
                (edge + "tel_log edge combined;", "client="),
                (edge + "tel_log edge combined if=$host;", "needs client="),
                (edge + "tel_log edge combined client=;", 'invalid parameter "client="'),
                (edge + "tel_log edge combined client=$host client=$host;", 'invalid parameter "client=$host"'),
                (edge + "tel_log edge combined client=$host buffer=1k;", 'invalid parameter "buffer=1k"'),
                (edge + "tel_log off edge;", 'invalid parameter "edge"'),
                ("log_format f x; log_format f x;", 'duplicate "log_format"'),
                ("log_format f escape=odd x;", "escap"),
                ("log_format f '${oops';", "bracket"),
                ("server { location / { tel_status xml; } }", 'invalid parameter "xml"')):
            with self.subTest(http=http):
                self.says(http, reason, "FOLDER/nginx.conf:")

    def test_an_unknown_variable(self):
        """nginx itself finds out, at the end, and names no line."""
        edge = "tel_producer edge config=edge.json;"
        for http in ("tel_log edge combined client=$no_such;", "tel_log edge combined client=$host if=$no_such;",
                     "log_format f '$no_such'; tel_log edge f client=$host;"):
            self.says(edge + http, 'unknown "no_such" variable')

    def test_nginx_t_connects_nowhere_and_starts_nothing(self):
        with socket.socket() as broker:
            broker.bind(("127.0.0.1", 0))
            broker.listen()
            broker.settimeout(1)
            self.says("tel_producer edge config=edge.json; tel_log edge combined client=$host;", ok=True, producers={
                "edge": {"kafka": {"bootstrap.servers": "127.0.0.1:%d" % broker.getsockname()[1]}}})
            with self.assertRaises(socket.timeout):
                broker.accept()

    def test_log_format_is_still_nginx_own(self):
        """access_log has the formats that tel_log has, and stream's log_format is not touched."""
        self.says("log_format a '$status'; log_format b escape=none '$uri' ' $args';"
                  "access_log @FOLDER@/x a; access_log @FOLDER@/y b;", ok=True)


LEVELS = """
    access_log off;
    log_format uri '$uri';
    log_format second 'second $uri';
    tel_producer edge config=edge.json;
    tel_producer idle config=idle.json;
    tel_log edge uri client=http;
    map $arg_c $mapped { default ""; ~. $arg_c; }
    server {
        listen 127.0.0.1:@PORT@;
        location / { return 200; }
        location /off { tel_log off; return 200; location /off/on { tel_log edge uri client=loc; return 200; } }
        location /own { tel_log edge uri client=loc; return 200; location /own/inner { return 200; } }
        location /both { tel_log edge uri client=loc; tel_log edge second client=http; return 200; }
        location /offwins { tel_log edge uri client=loc; tel_log off; return 200; }
        location /if { tel_log edge uri client=loc if=$arg_x; return 200; }
        location /var { tel_log edge uri client=$mapped; return 200; }
        location /mixed { tel_log edge uri client=l${arg_c}; return 200; }
        location /in_if { if ($arg_y) { tel_log edge second client=loc; return 200; } return 200; }
        location /limit { limit_except GET { tel_log edge second client=loc; deny all; } return 200; }
        location /tel { tel_status; tel_log off; }
    }
    server {
        listen 127.0.0.1:@PORT1@; tel_log off;
        location / { return 200; location /again { tel_log edge uri client=srv; return 200; } }
    }
"""


class Levels(unittest.TestCase):
    def test_inheritance_off_and_if(self):
        with Nginx(LEVELS, clients=["http", "srv", "loc"], ports=2, producers={"edge": EMBEDDED, "idle": EMBEDDED}) as nginx:
            expected = {"http": 0, "srv": 0, "loc": 0}
            for path, port, clients in (
                    ("/", 0, "http"), ("/off", 0, ""), ("/off/on", 0, "loc"), ("/own", 0, "loc"), ("/own/inner", 0, "loc"),
                    ("/both", 0, "loc http"), ("/offwins", 0, ""), ("/if", 0, ""), ("/if?x=0", 0, ""), ("/if?x=", 0, ""),
                    ("/if?x=1", 0, "loc"), ("/if?x=00", 0, "loc"), ("/var", 0, ""), ("/var?c=loc", 0, "loc"),
                    ("/var?c=unknown", 0, ""), ("/var?c=-", 0, ""), ("/var?c=" + "l" * 500, 0, ""), ("/mixed?c=oc", 0, "loc"),
                    ("/mixed", 0, ""), ("/in_if", 0, "http"), ("/in_if?y=1", 0, "loc"), ("/limit", 0, "http"),
                    ("/", 1, ""), ("/again", 1, "srv")):
                nginx.get(path, port=nginx.ports[port])
                for client in clients.split():
                    expected[client] += 1
                nginx.settled(sum(expected.values()))
                routed = {k: v["delivered"] for k, v in nginx.status()["producers"]["edge"]["worker"]["clients"].items()}
                self.assertEqual(routed, {k: v for k, v in expected.items() if k in routed}, path)
            # A producer that no tel_log names is not started, and a client that is not listed is not even counted.
            status = nginx.status()
            self.assertEqual(list(status["producers"]), ["edge"])
            self.assertEqual(status["producers"]["edge"]["total"]["unknown_client"], 0)

    def test_a_client_that_gets_the_service(self):
        with Nginx(LEVELS, clients=["http"], ports=2, producers={"edge": EMBEDDED, "idle": EMBEDDED}) as nginx:
            nginx.get("/own")
            nginx.set_clients(["http", "loc"], revision=2)
            wait_for("the new list", lambda: nginx.total()["clients"] == 2)
            nginx.get("/own")
            nginx.settled(1)


class Status(unittest.TestCase):
    def test_the_workers_add_up(self):
        http = LEVELS.replace("location /tel {", "location /metrics { tel_status prometheus; tel_log off; } location /tel {")
        with Nginx(http, clients=["http"], ports=2, workers=3, producers={"edge": EMBEDDED, "idle": EMBEDDED}) as nginx:
            for _ in range(60):
                nginx.get("/")
            wait_for("all are seen", lambda: nginx.total()["delivered"] == 60)
            status = nginx.status()
            self.assertEqual(status["producers"]["edge"]["workers"], 3)
            self.assertIn(status["worker_pid"], nginx.worker_pids())
            self.assertEqual(set(status["producers"]["edge"]["total"]), set(status["producers"]["edge"]["worker"]["total"]))
            text = nginx.get("/metrics").decode()
            self.assertIn('\ntel_lines_delivered_total{producer="edge"} 60\n', text)
            self.assertIn('\n# TYPE tel_lines_in_flight gauge\ntel_lines_in_flight{producer="edge"} 0\n', text)
            self.assertIn('\ntel_workers{producer="edge"} 3\n', text)
            self.assertIn('\ntel_clients{producer="edge"} 1\n', text)
            for line in text.splitlines():
                self.assertRegex(line, r'^(# TYPE tel_[a-z_]+ (counter|gauge)|tel_[a-z_]+\{producer="edge"\} [0-9]+)$')
            self.assertEqual(nginx.get("/metrics?format=json")[:1], b"{")
            self.assertIn(b"# TYPE", nginx.get("/tel?format=prometheus"))
            self.assertIn(b" 400 ", nginx.raw(b"GET /tel?format=x HTTP/1.0\r\n\r\n"))
            self.assertIn(b" 405 ", nginx.raw(b"POST /tel HTTP/1.0\r\n\r\n"))
            self.assertEqual(nginx.raw(b"HEAD /tel HTTP/1.0\r\n\r\n").split(b"\r\n\r\n")[1], b"")

    def test_without_a_producer(self):
        with Nginx("access_log off; server { listen 127.0.0.1:@PORT@; location / { tel_status; } }") as nginx:
            self.assertEqual(json.loads(nginx.get("/"))["producers"], {})
            self.assertNotIn(b"{", nginx.get("/?format=prometheus"))


if __name__ == "__main__":
    unittest.main()
