"""The media server: libnginx-mod-rtmp in the same nginx, a live stream by ffmpeg, its segments and sessions logged."""

import re
import subprocess
import unittest

from support import PATIENCE, RTMP, Kafka, Nginx, wait_for

RTMP_BLOCK = """
    rtmp { server { listen 127.0.0.1:@PORT1@; ping 1s; notify_method get;
        application live { live on; record off; hls on; hls_path @FOLDER@/hls; hls_fragment 1s; dash on; dash_path @FOLDER@/dash;
            dash_fragment 1s;
            on_publish http://127.0.0.1:@PORT0@/rtmp; on_publish_done http://127.0.0.1:@PORT0@/rtmp;
            on_play http://127.0.0.1:@PORT0@/rtmp; on_play_done http://127.0.0.1:@PORT0@/rtmp; } } }
"""

HTTP = """
    log_format segment '$uri $status';
    log_format session '$arg_call $arg_app/$arg_name $arg_addr';
    tel_producer edge config=edge.json;
    map $arg_app $owner { default ""; live media; }
    server {
        listen 127.0.0.1:@PORT0@; access_log off;
        location /hls/ { root @FOLDER@; tel_log edge segment client=media; }
        location /dash/ { root @FOLDER@; tel_log edge segment client=media; }
        location = /rtmp { allow 127.0.0.1; deny all; tel_log edge session client=$owner; return 204; }
        location /tel { tel_status; }
    }
"""


class Media(unittest.TestCase):
    @staticmethod
    def dash_segment(nginx):
        """The path of the newest video segment that the manifest lists, if there is one yet."""
        manifest = nginx.folder / "dash/show.mpd"
        text = manifest.read_text() if manifest.exists() else ""
        name = re.search(r'media="(show[^"]*\$Time\$\.m4v)"', text)
        times = re.findall(r'<S t="(\d+)"', text.split("m4a")[0])
        return name and times and "/dash/" + name.group(1).replace("$Time$", times[-1])

    def test_segments_and_sessions(self):
        kafka = Kafka.shared()
        kafka.topics(["media"])
        nginx = Nginx(HTTP, main=RTMP_BLOCK, clients=["media"], ports=2, producers={"edge": {
            "kafka": {"bootstrap.servers": kafka.servers, "linger.ms": 50, "broker.address.family": "v4"}}})
        conf = nginx.folder / "nginx.conf"
        conf.write_text(f"load_module {RTMP};\n" + conf.read_text())
        for kind in ("hls", "dash"):
            (nginx.folder / kind).mkdir()
        with nginx:
            url = f"rtmp://127.0.0.1:{nginx.ports[1]}/live/show"
            publisher = subprocess.Popen(
                ["ffmpeg", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10", "-f", "lavfi", "-i",
                 "sine", "-t", "30", "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p", "-c:a", "aac",
                 "-f", "flv", url], stdin=subprocess.DEVNULL)
            try:
                wait_for("segments", lambda: len(list((nginx.folder / "hls").glob("show-*.ts"))) >= 3)
                segment = wait_for("DASH", lambda: self.dash_segment(nginx))
                playlist = nginx.get("/hls/show.m3u8").decode()
                asked = ["/hls/show.m3u8"]
                for name in [line for line in playlist.splitlines() if line.endswith(".ts")]:
                    self.assertGreater(len(nginx.get(f"/hls/{name}")), 1000)
                    asked.append(f"/hls/{name}")
                for path in ("/dash/show.mpd", segment):
                    self.assertGreater(len(nginx.get(path)), 500)
                    asked.append(path)
                subprocess.run(["ffmpeg", "-loglevel", "quiet", "-i", url, "-t", "1", "-f", "null", "-"],
                               stdin=subprocess.DEVNULL, timeout=PATIENCE)
            finally:
                publisher.terminate()
                publisher.wait(PATIENCE)
            wait_for("the end of the session", lambda: nginx.total()["delivered"] >= len(asked) + 4)
            nginx.settled(nginx.total()["submitted"])
            lines = [line.decode() for line in kafka.read("media")]
            self.assertEqual([line for line in lines if line[0] == "/"], [f"{path} 200" for path in asked])
            sessions = [line.split() for line in lines if line[0] != "/"]
            self.assertEqual({(call, stream) for call, stream, _ in sessions},
                             {(call, "live/show") for call in ("publish", "play", "play_done", "publish_done")})
            print("media:", *lines, sep="\n  ", flush=True)


if __name__ == "__main__":
    unittest.main()
