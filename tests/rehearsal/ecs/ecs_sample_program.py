"""What the tests' containers run: `serve [after_s]`, `exit CODE`, `print WORD...`, `deaf`, `env NAME`."""

import os
import signal
import socket
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
verb, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("serve", [])
if verb == "exit":
    time.sleep(float(words[1]) if len(words) > 1 else 0)
    print(f"ends with {words[0]}", flush=True)
    sys.exit(int(words[0]))
if verb == "print":
    for word in words:
        print(word, flush=True)
    sys.exit(0)
if verb == "env":
    print(os.environ.get(words[0]), flush=True)
    sys.exit(0)
if verb == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("stubborn", flush=True)
if verb == "serve":
    time.sleep(float(words[0]) if words else 0)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((os.environ["TASK_ADDRESS"], 8000))
    listener.listen(16)
    print("serving", flush=True)
    while True:
        listener.accept()[0].close()
while True:
    time.sleep(0.05)
