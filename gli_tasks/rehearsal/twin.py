"""The twin's control process: ``python -m gli_tasks.rehearsal.twin --project gli --environment prod --folder F ...``.

Starts every part, creates what the environment's settings name, prints one line of JSON that says where everything
is, and runs until SIGTERM or until its standard input closes. Every child dies with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gli_tasks.rehearsal.balancing import BalancerProcess
from gli_tasks.rehearsal.cache import Cache
from gli_tasks.rehearsal.certificates import make_certificates
from gli_tasks.rehearsal.control import Control
from gli_tasks.rehearsal.database import Database, Role
from gli_tasks.rehearsal.engines import start_engines
from gli_tasks.rehearsal.provision import Reachable, provision
from gli_tasks.rehearsal.ready import STAY, Ready
from gli_tasks.rehearsal.runtime.children import Children
from gli_tasks.settings import load
from gli_tasks.settings.load import root_folder


@dataclass(frozen=True, slots=True)
class Options:
    """How the twin is to run. ``engine`` is docker or process; ``time_scale`` multiplies every duration of AWS's."""

    project: str
    environment: str
    folder: Path
    engine: str
    time_scale: float
    label: str


def parse_options(arguments: list[str]) -> Options:
    """Read the command line. Exits with 2 on a wrong one."""
    parser = argparse.ArgumentParser(prog="twin", description="The embedded twin of AWS.")
    parser.add_argument("--project", required=True)
    parser.add_argument("--environment", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--engine", choices=("docker", "process"), required=True)
    parser.add_argument("--time-scale", type=float, default=0.05)
    parser.add_argument("--label", required=True, help="marks all that this twin starts")
    return Options(**vars(parser.parse_args(arguments)))


@contextlib.contextmanager
def running(options: Options, process: Mapping[str, str]) -> Iterator[Ready]:
    """Run the twin for as long as the context lasts; every part is stopped at its end, in reverse order."""
    settings = load(root_folder(process), options.project, options.environment, process).settings
    with contextlib.ExitStack() as stack:
        children = Children()
        stack.callback(children.close)
        control = Control(settings, options.folder, options.time_scale)
        stack.callback(control.stop)
        engines = start_engines(
            options.engine, options.folder, control.registry.address, control.credentials, options.label
        )
        stack.callback(engines.close)
        certificates = make_certificates(
            options.folder, sorted({service.host for service in settings.services.values()} | {*engines.addresses})
        )
        database = Database(options.folder / "database", engines.addresses, children.adopt)
        stack.callback(database.stop)
        cache = Cache(engines.tasks_reach, certificates)
        stack.callback(cache.stop)
        control.start(engines.runtime)
        stack.callback(control.stop_tasks)
        role = Role("app", secrets.token_urlsafe(18), settings.database.name if settings.database else "app")
        database.create(role)
        reachable = Reachable(engines.tasks_reach, database.port, role, f"{control.endpoint}/_twin/slack")
        provision(settings, control.client, reachable)
        balancer = BalancerProcess(control.endpoint, certificates, children)
        stack.callback(balancer.stop)
        yield Ready(
            endpoint=control.endpoint,
            door=control.door,
            registry=control.registry.address,
            docker_host=engines.docker_host,
            http=balancer.http,
            https=balancer.https,
            authority=str(certificates.authority),
            cache=f"rediss://{engines.tasks_reach}:{cache.port}",
            engine=options.engine,
            base_image=engines.base_image,
            pid=os.getpid(),
        )


def main(arguments: list[str]) -> int:
    """Run until SIGTERM, or until standard input ends without ``STAY``."""
    options = parse_options(arguments)
    logging.basicConfig(
        filename=options.folder / "twin.log", level=logging.INFO, format="%(asctime)s %(name)s %(message)s"
    )
    stop = threading.Event()

    def asked(_number: int, _frame: Any) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    # Ctrl-C reaches the whole terminal; the rehearsal decides when the twin ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def until_stdin_closes() -> None:
        # Whoever started this is gone, unless it took its leave.
        if sys.stdin.read() != STAY:
            stop.set()

    threading.Thread(target=until_stdin_closes, daemon=True).start()
    try:
        with running(options, os.environ) as ready:
            # Nobody may be left to read it; then standard input ends as well.
            with contextlib.suppress(BrokenPipeError):
                print(json.dumps(asdict(ready)), flush=True)
            stop.wait()
    finally:
        # Whoever started this may be gone without having been able to tidy up.
        shutil.rmtree(options.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
