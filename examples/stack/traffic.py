#!/usr/bin/env python3
"""Access-log lines as an edge server has them, for trying: `traffic.py RATE CLIENT...` prints RATE lines a second.

Each begins with the id of one of the clients, which the reader takes off. Addresses are from the networks for documentation.
"""
import random
import sys
import time

PATHS = ["/", "/index.html", "/assets/app.js", "/assets/style.css", "/images/banner.jpg", "/live/stream.m3u8", "/api/v2/items"]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "curl/8.5.0",
]
STATUSES = [200] * 12 + [206, 206, 304, 304, 301, 404, 403, 503]


def line(client):
    address = f"{random.choice(['192.0.2', '198.51.100', '203.0.113'])}.{random.randrange(1, 255)}"
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    status, path = random.choice(STATUSES), random.choice(PATHS)
    if path == "/live/stream.m3u8":
        path = f"/live/segment-{int(time.time()) // 4}.ts"
    size = 0 if status == 304 else int(random.lognormvariate(9, 1.5))
    return f'{client} {address} - - [{when}] "GET {path} HTTP/1.1" {status} {size} "-" "{random.choice(AGENTS)}"'


def main():
    rate, clients = float(sys.argv[1]), sys.argv[2:]
    start, number = time.monotonic(), 0
    while True:
        print(line(clients[number % len(clients)]), flush=True)
        number += 1
        time.sleep(max(0, start + number / rate - time.monotonic()))


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        pass
