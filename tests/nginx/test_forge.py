"""Whose line it is, only the operator's variable says: nothing in a request can put a line into another's topic."""

import itertools
import unittest

from support import Kafka, Nginx

HTTP = """
    access_log off; underscores_in_headers on; ignore_invalid_headers off;
    log_format raw escape=none '$request_method $request_uri $uri $args $http_x $http_user_agent $remote_user $host';
    tel_producer edge config=edge.json;
    map $server_port $client { @PORT0@ honest; default victim; }
    server { listen 127.0.0.1:@PORT0@; listen 127.0.0.1:@PORT1@; tel_log edge raw client=$client;
             location / { return 200 ok; }
             location /tel { tel_status; tel_log off; } }
"""


RAW_END = """
    log_format end escape=none '$status $uri';
    tel_producer edge config=edge.json;
    server { listen 127.0.0.1:@PORT@;
             location / { access_log @FOLDER@/access.log end; tel_log edge end client=ends; return 200 ok; }
             location /tel { tel_status; access_log off; } }
"""


class Forge(unittest.TestCase):
    def test_a_line_ends_where_its_format_does(self):
        kafka = Kafka.shared()
        kafka.topics(["ends"])
        with Nginx(RAW_END, clients=["ends"], producers={"edge": {"kafka": {
                "bootstrap.servers": kafka.servers, "linger.ms": 20, "broker.address.family": "v4"}}}) as nginx:
            for path in ("/a%0a", "/b%0d%0a", "/c%0a%0a", "/d%0d", "/" + "e" * 8000 + "%0a"):
                nginx.get(path)
            nginx.settled(5)
            lines = sorted(kafka.read("ends"))
            self.assertEqual(lines[:4], [b"200 /a\\n", b"200 /b\\r\\n", b"200 /c\\n\\n", b"200 /d\\r"])
            self.assertEqual(lines[4], b"200 /" + b"e" * 8000 + b"\\n")

    def test_another_id_in_a_request(self):
        kafka = Kafka.shared()
        kafka.topics(["honest", "victim"])
        ids = [b"victim", b"victim ", b"victim GET /", b"\nvictim x", b"\r\nvictim x", b"\0victim x", b"%0avictim%20x",
               b"%0d%0avictim%20x", b"%00victim%20x", b"\\nvictim x", b"\\x0avictim x", b"\xe2\x80\xa8victim x", b"\x0bvictim x",
               b"\x85victim x", b'"}\nvictim x', b"${client}", b"$client victim"]
        places = [b"GET /%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                  b"GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                  b"GET /?client=%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                  b"GET / HTTP/1.1\r\nHost: h\r\nX: %s\r\nConnection: close\r\n\r\n",
                  b"GET / HTTP/1.1\r\nHost: h\r\nclient: %s\r\nX-Client: victim\r\nConnection: close\r\n\r\n",
                  b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                  b"GET http://%s/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                  b"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: %s\r\nConnection: close\r\n\r\n",
                  b"GET / HTTP/1.1\r\nHost: h\r\nCookie: client=%s\r\nConnection: close\r\n\r\n",
                  b"%s / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"%s"]
        with Nginx(HTTP, clients=["honest", "victim"], ports=2, producers={
                "edge": {"kafka": {"bootstrap.servers": kafka.servers, "linger.ms": 20,
                                   "broker.address.family": "v4"}}}) as nginx:
            for text, place in itertools.product(ids, places):
                data = place % text
                if b"\r\n\r\n" not in data:
                    data += b" HTTP/1.0\r\n\r\n"
                nginx.raw(data)
            total = nginx.total()
            self.assertGreaterEqual(total["submitted"], len(ids) * len(places) * 0.9)
            nginx.settled(total["submitted"])
            self.assertEqual(kafka.read("victim"), [])
            self.assertEqual(len(kafka.read("honest")), total["submitted"])
            # The victim's own request gets there: the topic is one that can be written to.
            nginx.get("/mine", port=nginx.ports[1])
            nginx.settled(total["submitted"] + 1)
            self.assertEqual(len(kafka.read("victim")), 1)


if __name__ == "__main__":
    unittest.main()
