"""teld beside a media server: ffmpeg to nginx-rtmp to HLS, players, and nginx's access log in teld's FIFO."""

import http.client
import os
import re
import signal
import time
import unittest
import urllib.error
import urllib.request

import servers
from servers import LiveStream, NginxRtmp, Teld
from waiting import Beside, wait_for

# A whole line, from its second field on: teld has taken the client off.
LINE = re.compile(
    rb'127\.0\.0\.1 \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d\] '
    rb'"GET /hls/(\w+)/[\w.-]+\?request=(\w+)-(\d+)-(\d+) HTTP/1\.1" (\d{3}) \d+ "[^"]*" end'
)
# nginx logs a request right after its answer; one that is killed in between does not. So long before nginx is ended,
# an answer is too young for its line to be demanded.
YOUNG_S = 0.5


class Media(unittest.TestCase):
    def test_each_request_of_a_live_stream_is_one_whole_line_in_its_client_s_topic(self):
        kafka = servers.kafka()
        clients = kafka.topics("media_", 3)
        folder = self.enterContext(servers.temporary_folder())
        fifo = folder / "media.fifo"
        # nginx and its workers open it as their own users.
        inputs = {"media": {"type": "fifo", "path": fifo, "mode": "0666"}}
        teld = self.enterContext(Teld(folder, inputs, clients=clients))
        os.close(servers.open_fifo(fifo))
        nginx = self.enterContext(NginxRtmp(folder, fifo))
        stream = self.enterContext(LiveStream(folder, nginx.rtmp, clients))
        players = [self.enterContext(Player(nginx.port, client, number)) for client in clients for number in range(2)]
        ends = []

        def all_play(segments):
            before = [player.segments for player in players]
            nginx.wait_until(
                f"each player has got {segments} more segments",
                lambda: all(player.segments >= old + segments for player, old in zip(players, before)),
            )

        all_play(2)
        for _ in range(20):
            # Opens its log again, as after a rotation.
            nginx.process.send_signal(signal.SIGUSR1)
            seen = sum(len(player.answered) for player in players)
            wait_for("requests meanwhile", lambda: sum(len(player.answered) for player in players) > seen + 5)
        before = nginx.workers()
        nginx.process.send_signal(signal.SIGHUP)
        wait_for("other workers beside the old ones", lambda: set(nginx.workers()) - set(before))
        all_play(1)
        # The old ones stay as long as the stream does.
        stream.cut()
        wait_for("other workers alone", lambda: not set(before) & set(nginx.workers()))
        all_play(1)
        for _ in range(3):
            ends.append(time.monotonic())
            nginx.kill_all()
            nginx.start()
            all_play(1)
        ends.append(time.monotonic())
        self.assertEqual(nginx.end(), 0)
        nginx.start()
        all_play(1)
        for player in players:
            player.end()

        def is_demanded(answer):
            return not any(end - YOUNG_S < answer.time < end + YOUNG_S for end in ends)

        asked = {request for player in players for request in player.asked}
        answered = {answer.request: answer for player in players for answer in player.answered}
        demanded = {request for request, answer in answered.items() if is_demanded(answer)}
        self.assertGreater(len(demanded), 0.5 * len(answered))
        teld.wait_for_delivered(len(demanded))
        self.assertEqual(nginx.end(), 0)
        self.assertEqual(teld.end(), 0)

        arrived = []
        for client, lines in kafka.read(clients).items():
            for line in lines:
                match = LINE.fullmatch(line)
                self.assertIsNotNone(match, f"torn, joined or not nginx's: {line}")
                self.assertEqual((match[1].decode(), match[2].decode()), (client, client))
                request = (client, int(match[3]), int(match[4]))
                arrived.append(request)
                if request in answered:
                    self.assertEqual(int(match[5]), answered[request].status, line)
        self.assertEqual(len(arrived), len(set(arrived)), "a line came twice")
        self.assertEqual(set(arrived) - asked, set(), "a line that nobody asked for")
        self.assertEqual(demanded - set(arrived), set(), "a line is missing")
        got = sum(player.segments for player in players)
        missing = len(set(answered) - set(arrived))
        print(
            f"  {len(answered):,} requests answered, {got:,} of segments; {len(arrived):,} lines arrived, "
            f"{missing} of requests in nginx's last {YOUNG_S} s were not logged"
        )


class Answer:
    def __init__(self, request, status):
        self.request, self.status, self.time = request, status, time.monotonic()


class Player(Beside):
    """Plays one client's stream: asks for the playlist again and again, and for each segment once."""

    def __init__(self, port, client, number):
        self.folder = f"http://127.0.0.1:{port}/hls/{client}/"
        self.client, self.number = client, number
        self.asked, self.answered, self.segments = [], [], 0
        super().__init__()

    def run(self):
        known = set()
        while not self.over.wait(0.05):
            for line in self.get("index.m3u8").splitlines():
                segment = line.decode()
                if segment.startswith("#") or segment in known:
                    continue
                known.add(segment)
                if self.get(segment):
                    self.segments += 1

    def get(self, name):
        """The answer's body; empty if there is none, or not with 200."""
        request = (self.client, self.number, len(self.asked))
        self.asked.append(request)
        text = "-".join(map(str, request))
        try:
            with urllib.request.urlopen(f"{self.folder}{name}?request={text}", timeout=5) as answer:
                body = answer.read()
                self.answered.append(Answer(request, answer.status))
                return body
        except urllib.error.HTTPError as error:
            error.read()
            self.answered.append(Answer(request, error.code))
        except (OSError, http.client.HTTPException):
            # nginx is down, or has been killed half-way.
            pass
        return b""


if __name__ == "__main__":
    unittest.main()
