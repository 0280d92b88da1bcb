"""Run the load generator: ``python -m gli_tasks.rehearsal.load --target ADDRESS:PORT --host HOST --output FILE``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import ssl
import sys
import time
from pathlib import Path

import msgspec

from gli_tasks.rehearsal.load.requests import Destination, Requests
from gli_tasks.rehearsal.load.summary import Summary, WebSocketSummary
from gli_tasks.rehearsal.load.websockets import WebSockets

WRITE_INTERVAL_S = 0.5
TIMEOUT_S = 5.0
OPEN_FILES = 8192


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """Read the command line. Exits with 2 on a wrong one."""
    parser = argparse.ArgumentParser(prog="load", description="Constant traffic; every failure is counted.")
    parser.add_argument("--target", type=_endpoint, required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--scheme", choices=("http", "https"), default="https")
    parser.add_argument("--ca", type=Path, help="PEM file of the authority that signed the balancer's certificate")
    parser.add_argument("--host", required=True, help="Host header and name in the certificate")
    parser.add_argument("--path", default="/")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--timeout-s", type=float, default=TIMEOUT_S)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--websocket-host")
    parser.add_argument("--websocket-path", default="/")
    parser.add_argument("--websocket-connections", type=int, default=4)
    parser.add_argument("--websocket-interval-s", type=float, default=0.5)
    parser.add_argument("--duration-s", type=float, help="end by itself")
    parser.add_argument("--until-stdin-closes", action="store_true")
    given = parser.parse_args(arguments)
    if given.rate <= 0:
        parser.error("--rate must be above 0")
    return given


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f"expected ADDRESS:PORT, got {text!r}")
    return host, int(port)


async def run(options: argparse.Namespace) -> int:
    """Ask until SIGTERM, the end of stdin or of the duration; the output file holds the result."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tls = ssl.create_default_context(cafile=options.ca) if options.scheme == "https" else None
    address, port = options.target
    summary = Summary(started=time.time())
    requests = Requests(
        Destination(address, port, options.host, tls), options.path, options.rate, options.timeout_s, summary
    )
    work = [asyncio.create_task(requests.run(stop))]
    sockets: WebSockets | None = None
    if options.websocket_host:
        summary.websocket = WebSocketSummary(wanted=options.websocket_connections)
        sockets = WebSockets(
            Destination(address, port, options.websocket_host, tls),
            options.websocket_path,
            options.websocket_interval_s,
            options.timeout_s,
            summary.websocket,
        )
        work.append(asyncio.create_task(sockets.run(stop)))
    if options.duration_s is not None:
        loop.call_later(options.duration_s, stop.set)
    watch = asyncio.create_task(_stdin_closes(stop)) if options.until_stdin_closes else None

    def write() -> None:
        summary.p50_ms, summary.p95_ms, summary.p99_ms = requests.latencies()
        if sockets is not None:
            sockets.refresh()
        _replace(options.output, msgspec.json.encode(summary))

    try:
        while True:
            done, _ = await asyncio.wait(work, timeout=WRITE_INTERVAL_S)
            for task in done:
                task.result()
            if len(done) == len(work):
                break
            write()
    finally:
        stop.set()
        summary.ended = time.time()
        write()
        if watch is not None:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
    return 0


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


async def _stdin_closes(stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass
    stop.set()


def main() -> int:
    """Run the command line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # when the balancer hangs, every request of the last five seconds holds a connection
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))
    return asyncio.run(run(parse_options(sys.argv[1:])))


if __name__ == "__main__":
    sys.exit(main())
