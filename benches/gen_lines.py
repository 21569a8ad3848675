#!/usr/bin/env python3
"""Made-up CDN access lines, the same for the same arguments: "<client id> <log line>", about 250 bytes each.

Use: gen_lines.py LINES CLIENTS > FILE. Clients are c0..c<CLIENTS-1>, Zipf-distributed.
"""
import ipaddress
import itertools
import random
import sys

rng = random.Random(7)
lines, clients = int(sys.argv[1]), int(sys.argv[2])
agents = (
    [f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36" for v in range(100, 128)]
    + [f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_{v} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{v} Mobile/15E148 Safari/604.1" for v in range(8)]
    + [f"okhttp/4.{v}.0" for v in range(12)] + [f"curl/7.{v}.1" for v in range(60, 88)])
folders, endings = ["js", "css", "img", "media", "fonts"], ["js", "css", "png", "jpg", "woff2", "m4s", "ts"]
paths = [f"/static/{rng.choice(folders)}/{rng.getrandbits(40):x}.{rng.choice(endings)}" for _ in range(5000)]
addresses = [str(ipaddress.IPv4Address(rng.getrandbits(32))) for _ in range(20000)]
weights = list(itertools.accumulate(1 / (i + 1) for i in range(clients)))
clock = 1763700000
for i in range(lines):
    client = rng.choices(range(clients), cum_weights=weights)[0]
    clock += i % 4000 == 0
    host = f"www.example{client}.com"
    sys.stdout.write(
        f'c{client} {rng.choice(addresses)} {clock}.{rng.randrange(1000):03d} "GET https://{host}{rng.choice(paths)} HTTP/2" '
        f'{rng.choice(["200", "200", "200", "200", "304", "404", "206"])} {int(rng.paretovariate(1.1) * 800)} '
        f'{rng.choice(["HIT", "HIT", "HIT", "MISS"])} "https://{host}/" "{rng.choice(agents)}" {rng.random() / 10:.4f} '
        f'{rng.choice(["h2", "h3", "h1"])} MAD1 {rng.getrandbits(128):032x}\n')
