"""Prints "CLIENT PROCESS NUMBER" lines for ever, a thousand a second at most. Use: emit.py CLIENT [deaf]

Deaf, it goes on when it is asked to end.
"""

import os
import signal
import sys
import time

client = sys.argv[1]
if sys.argv[2:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
number = 0
while True:
    os.write(1, f"{client} {os.getpid()} {number}\n".encode())
    number += 1
    time.sleep(0.001)
