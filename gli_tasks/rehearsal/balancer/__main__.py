"""Run the balancer: ``python -m gli_tasks.rehearsal.balancer --control URL --http ADDRESS:PORT ...``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

from gli_tasks.rehearsal.balancer.client import Client, client_protocol
from gli_tasks.rehearsal.balancer.control import Control, ControlLost, endpoint_of
from gli_tasks.rehearsal.balancer.exchange import Exchange
from gli_tasks.rehearsal.balancer.fleet import Fleet
from gli_tasks.rehearsal.balancer.health import Prober
from gli_tasks.rehearsal.balancer.metrics import Meter
from gli_tasks.rehearsal.balancer.session import Balancer
from gli_tasks.rehearsal.balancer.sites import Sites
from gli_tasks.rehearsal.balancer.upstream import Pool

IDLE_TIMEOUT_S = 60.0  # ALB's default
CONTROL_TIMEOUT_S = 10.0
STOP_WITHIN_S = 5.0
HANDSHAKE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    control: tuple[str, int]
    http: tuple[str, int]
    https: tuple[str, int] | None
    certificate: Path | None
    key: Path | None
    idle_timeout_s: float
    control_timeout_s: float
    seed: int | None
    until_stdin_closes: bool


def parse_options(arguments: list[str]) -> Options:
    """Read the command line. Exits with 2 on a wrong one."""
    parser = argparse.ArgumentParser(prog="balancer", description="The twin's load balancer.")
    parser.add_argument("--control", type=endpoint_of, required=True, metavar="URL")
    parser.add_argument("--http", type=_endpoint, required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--https", type=_endpoint, metavar="ADDRESS:PORT")
    parser.add_argument("--certificate", type=Path, help="PEM chain")
    parser.add_argument("--key", type=Path, help="PEM key; by default in the certificate's file")
    parser.add_argument("--idle-timeout-s", type=float, default=IDLE_TIMEOUT_S)
    parser.add_argument("--control-timeout-s", type=float, default=CONTROL_TIMEOUT_S, help="end when it is lost")
    parser.add_argument("--seed", type=int, help="make the choice by weights repeatable")
    parser.add_argument("--until-stdin-closes", action="store_true")
    given = parser.parse_args(arguments)
    if given.https and not given.certificate:
        parser.error("--https needs --certificate")
    return Options(
        given.control,
        given.http,
        given.https,
        given.certificate,
        given.key,
        given.idle_timeout_s,
        given.control_timeout_s,
        given.seed,
        given.until_stdin_closes,
    )


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f"expected ADDRESS:PORT, got {text!r}")
    return host, int(port)


async def run(options: Options) -> int:
    """Balance until SIGTERM, the end of stdin, or the loss of the control process (exit code 1)."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pool, meter = Pool(), Meter()
    fleet = Fleet(pool.forget)
    prober = Prober(fleet)
    control = Control(options.control, fleet, prober, meter, options.control_timeout_s)
    balancer = Balancer(
        fleet,
        Exchange(fleet, pool, meter, options.idle_timeout_s),
        Sites(*options.control),
        meter,
        Random(options.seed),
        options.idle_timeout_s,
    )
    servers = await _listen(options, balancer)
    follow = asyncio.create_task(control.follow_topology())
    tasks = [
        follow,
        asyncio.create_task(control.report_health()),
        asyncio.create_task(control.report_metrics()),
        asyncio.create_task(_sweep(pool)),
        asyncio.create_task(stop.wait()),
    ]
    if options.until_stdin_closes:
        tasks.append(asyncio.create_task(_stdin_closes()))
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    failure = next((task.exception() for task in tasks if task.done() and task.exception()), None)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for server in servers:
        server.close()
    await balancer.stop(STOP_WITHIN_S)
    await prober.close()
    pool.close()
    if failure is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await control.send_metrics()
        return 0
    if not isinstance(failure, ControlLost):
        raise failure
    print(f"balancer: {failure}", file=sys.stderr, flush=True)
    return 1


async def _listen(options: Options, balancer: Balancer) -> list[asyncio.Server]:
    """Listen, and say so in one line of JSON on stdout."""
    loop = asyncio.get_running_loop()
    servers: list[asyncio.Server] = []
    ports: dict[str, int] = {}
    for protocol, address in (("HTTP", options.http), ("HTTPS", options.https)):
        if address is None:
            continue

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, protocol: str = protocol) -> None:
            await balancer.serve(Client(reader, writer, protocol, options.idle_timeout_s))

        secure = protocol == "HTTPS"
        server = await loop.create_server(
            lambda handle=handle: client_protocol(handle),
            *address,
            backlog=1024,
            ssl=_tls(options) if secure else None,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if secure else None,
        )
        servers.append(server)
        ports[protocol.lower()] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    return servers


def _tls(options: Options) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    assert options.certificate is not None
    context.load_cert_chain(options.certificate, options.key)
    return context


async def _sweep(pool: Pool) -> None:
    while True:
        await asyncio.sleep(0.5)
        pool.sweep(asyncio.get_running_loop().time())


async def _stdin_closes() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass


def main() -> int:
    """Run the command line."""
    return asyncio.run(run(parse_options(sys.argv[1:])))


if __name__ == "__main__":
    sys.exit(main())
