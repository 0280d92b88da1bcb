"""What the tests' tasks run: `crash WORD...`, `answer STATUS [PORT] [SECONDS]`, `sleep`."""

import os
import signal
import socket
import sys
import time

verb, *words = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if verb == "crash":
    for word in words:
        print(word, flush=True)
    sys.exit(1)
if verb == "answer":
    status, port = int(words[0]), int(words[1]) if len(words) > 1 else 8000
    print("warming up", flush=True)
    time.sleep(float(words[2]) if len(words) > 2 else 0)
    server = socket.create_server((os.environ["TASK_ADDRESS"], port))
    print(f"listening on http://{os.environ['TASK_ADDRESS']}:{port}", flush=True)
    while True:
        with server.accept()[0] as connection:
            connection.recv(4_096)
            connection.sendall(f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
print("asleep", flush=True)
while True:
    time.sleep(0.05)
