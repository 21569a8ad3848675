"""The same requests through varnishncsa and through tel.access_log give the same lines, byte for byte."""

import collections
import json
import re
import unittest

import servers
import traffic

COUNT = 3000

# Together these use every directive.
FORMATS = [
    '%h %l %u %t "%r" %s %b "%{Referer}i" "%{User-agent}i"',
    "%D %H %I %m %O %q %U %T seconds",
    "%{s}T %{ms}T %{us}T eights",
    "%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}t %{usec_frac}t %{sec}t %{msec}t %{usec}t %{msecx}t",
    "%{Varnish:time_firstbyte}x %{Varnish:hitmiss}x %{Varnish:handling}x %{Varnish:side}x %{Varnish:vxid}x %s",
    "%{VCL_Log:key}x|%{VCL_Log:none}x|%{VCL_Log:Key}x|%{VCL_Log:two words}x",
    "%{VSL:Timestamp}x %{VSL:Timestamp:Process}x %{VSL:Timestamp:process[2]}x %{VSL:Begin}x %{VSL:Begin[2]}x %{VSL:ReqAcct}x %{VSL:ReqAcct[4]}x %{VSL:End}x",
    "%{VSL:VCL_call}x %{VSL:VCL_return[1]}x %{VSL:RespHeader:Content-Length}x %{VSL:Hit[1]}x %{VSL:HitMiss[1]}x %{VSL:VCL_Log:key[2]}x %{VSL:ReqStart[255]}x",
    "%{VSL:PipeAcct}x %{VSL:ReqUnset}x %{VSL:Error}x %{VSL:FetchError}x %{VSL:Link[2]}x %{VSL:RespS}x %{VSL:ReqHeader:user-agent}x",
    "%{X-Two}i %{x-two}i %{X-Huge}i %{Host}i %{Cookie}i %{X-Forwarded-For}i",
    "%{VSL:ReqHeader}x %{VSL:ReqHeader[2]}x %{x-two}i %{Host}i %u",
    "%{X-Foo}o %{content-length}o %{X-Empty}o %{Set-Cookie}o %{Via}o %{Age}o %{X-Varnish}o",
    r'\"%s\" tab\tback\\slash \%b é {"a": "%m"}',
    "%{X-Changed}i %{Content-Encoding}o %{Transfer-Encoding}o %{Content-Range}o %u",
]

VCL = r"""
vcl 4.1;
import std;
import tel from "%(vmod)s";
backend default { .host = "127.0.0.1"; .port = "%(origin)d"; }
sub vcl_init {
%(objects)s
}
sub log_all {
%(calls)s
}
sub vcl_recv {
    call log_all;
    std.log("key: first " + req.url);
    std.log("key: second");
    std.log("two words:x");
    set req.http.X-Changed = "changed " + req.restarts;
    if (req.url ~ "^/synth") { return (synth(700 + req.restarts, "made")); }
    if (req.url ~ "^/fail") { return (fail); }
    if (req.url ~ "^/restart" && req.restarts < 2) {
        set req.url = "/restarted" + req.restarts + req.url;
        set req.http.User-Agent = "restarted";
        return (restart);
    }
    if (req.url ~ "^/restarted0" && req.restarts < 2) { return (restart); }
    if (req.url ~ "^/pass" || req.http.Authorization ~ "Bearer") { return (pass); }
    if (req.http.Upgrade) { return (pipe); }
    if (req.method == "PURGE") { return (purge); }
    if (req.http.Authorization) { return (hash); }
}
sub vcl_backend_response {
    set beresp.do_esi = bereq.url ~ "^/esi";
    set beresp.do_gzip = bereq.url ~ "^/a1";
    if (bereq.url ~ "^/hfp") { return (pass(10s)); }
    if (bereq.url ~ "^/private1") { set beresp.uncacheable = true; set beresp.ttl = 10s; return (deliver); }
    if (beresp.status >= 500) { set beresp.ttl = 0s; }
}
sub vcl_synth {
    call log_all;
    set resp.http.X-Foo = "synth";
    set resp.body = "body";
    return (deliver);
}
"""


def vcl(origin, config, formats):
    return VCL % {
        "vmod": servers.VMOD,
        "origin": origin.port,
        "objects": "\n".join(f'    new f{i} = tel.access_log("{config}", """{i:02}|{text}|""", esi={str(esi).lower()});'
                             for i, (text, esi) in enumerate(formats)),
        "calls": "\n".join(f'    f{i}.log("parity");' for i in range(len(formats))),
    }


class Parity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kafka = servers.Kafka()
        cls.addClassCleanup(cls.kafka.stop)
        cls.origin = servers.Origin()
        cls.addClassCleanup(cls.origin.stop)

    def compare(self, topic, parameters):
        self.kafka.topics(topic)
        home = servers.folder("conf")
        servers.write(home / "clients.json", json.dumps({"revision": 1, "clients": [{"id": "parity", "topic": topic}]}))
        config = servers.write(home / "tel.json", json.dumps({
            "kafka": {"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 200, "broker.address.family": "v4"},
            "queue.max_line_bytes": 65536, "clients.file": str(home / "clients.json")}))
        # Each format for requests alone, and two with ESI sub-requests.
        formats = [(text, False) for text in FORMATS] + [(text, True) for text in (FORMATS[0], FORMATS[6])]
        varnish = servers.Varnish(vcl(self.origin, config, formats), ["feature=+http2", *parameters])
        readers = []
        try:
            for i, (text, esi) in enumerate(formats):
                readers.append(servers.Ncsa(varnish, f"{i:02}|{text}|", esi))
            servers.wait_for(lambda: varnish.get("/ready") and all(r.path.stat().st_size > 0 for r in readers), "all varnishncsa read")
            traffic.run(varnish.port, COUNT)
            servers.wait_for(varnish.is_idle, "no request is under way")
            theirs = [collections.Counter(reader.lines()) for reader in readers]
            counters = varnish.counters()
        finally:
            for reader in readers:
                reader.stop()
            said = varnish.stop()
        self.assertNotIn("Assert", said)
        for name in ("log_refused", "log_lost_records", "log_lost_workspace"):
            self.assertEqual(counters["TEL.tel." + name], 0, counters)
        ours = [collections.Counter() for _ in formats]
        for line in self.kafka.read(topic):
            ours[int(line[:2])][line] += 1
        self.every_kind_is_there(theirs)
        for i, (text, esi) in enumerate(formats):
            # Those of the time before this varnishncsa read, and only those, are ours alone.
            early = ours[i] - theirs[i]
            missing = theirs[i] - ours[i]
            with self.subTest(format=text, esi=esi):
                self.assertGreaterEqual(sum(theirs[i].values()), COUNT)
                self.assertEqual(list(missing)[:3], [], f"{sum(missing.values())} lines of varnishncsa's alone; ours: {list(early)[:3]}")
                self.assertEqual([l for l in early if b"/ready" not in l and i in (0, 7, len(FORMATS))], [])
                self.assertLessEqual(sum(early.values()), 100)
            print(f"parity {topic}: {sum(theirs[i].values())} lines, {len(theirs[i])} different, {sum(missing.values())} differ: {text}{' (-E)' if esi else ''}")

    def every_kind_is_there(self, theirs):
        """The traffic is what it is said to be: what is missing on both sides differs in nothing."""
        def words(i):
            return [line.split(b"|", 1)[1].rstrip(b"|").split() for line in theirs[i]]
        handling = words(4)
        self.assertEqual({w[1] for w in handling}, {b"hit", b"miss"})
        self.assertEqual({w[2] for w in handling}, {b"hit", b"miss", b"pass", b"pipe", b"synth"})
        self.assertLessEqual({b"200", b"206", b"304", b"404", b"416", b"500", b"503", b"700"}, {w[5] for w in handling})
        # Why the transaction was begun, in the formats for requests alone and with ESI sub-requests.
        for i, reasons in ((6, {b"rxreq", b"restart"}), (len(FORMATS) + 1, {b"rxreq", b"restart", b"esi"})):
            self.assertEqual({reason for line in theirs[i] for reason in re.findall(rb" req \d+ (\w+) ", line)}, reasons)
        self.assertNotEqual({w[4] for w in words(7)}, {b"-"}, "no hit-for-miss")
        slow = {int(size) for line in theirs[0] for size in re.findall(rb'/slow[^"]* HTTP/1.1" 200 (\d+) ', line)}
        self.assertTrue([size for size in slow if 0 < size < servers.SLOW_BYTES], f"no client that has left early: {slow}")
        self.assertLessEqual({b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0"}, {w[1] for w in words(1)})

    def test_default_vsl_reclen(self):
        self.compare("parity.255", [])

    def test_vsl_reclen_4000(self):
        self.compare("parity.4000", ["vsl_reclen=4000"])


if __name__ == "__main__":
    unittest.main()
