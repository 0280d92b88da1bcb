"""The references of a project's production on a real HTTP server, put up once for a module."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import httpx
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from gli_tasks.aws import Aws
from gli_tasks.settings import load
from tests.ecs.verify_parts import MORE, Denying, Production, make_production, with_more_references
from tests.floor_parts import REPOSITORY

_ACCOUNT = "917891822317"
_PROCESS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "MOTO_ACCOUNT_ID": _ACCOUNT,
}


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@pytest.fixture(scope="module")
def production(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """Put up the production of ``gli``, of the project that the test names as a parameter, or of one with ``MORE``.

    What a test breaks it mends.
    """
    project = getattr(request, "param", "gli")
    folder = tmp_path_factory.mktemp(project)
    door = Denying()
    server = make_server("127.0.0.1", 0, door, threaded=True, request_handler=_Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    given = {"AWS_ACCOUNT_ID": _ACCOUNT, "ECR_REGISTRY": "filled.in.below"}
    root = with_more_references(folder / "env") if project == MORE else REPOSITORY / "env"
    settings = load(root, project.removesuffix(MORE) or "gli", "prod", given).settings
    with pytest.MonkeyPatch.context() as process:
        for key in [key for key in os.environ if key.startswith("AWS_")]:
            process.delenv(key)
        for key, value in {**_PROCESS, "AWS_ENDPOINT_URL": url}.items():
            process.setenv(key, value)
        moto = DomainDispatcherApplication(create_backend_app)
        aws = Aws(settings.aws.region, settings.aws.account)
        made, plane = make_production(settings, aws, door, moto, folder)
        httpx.post(f"{url}/moto-api/reset").raise_for_status()
        plane.start()
        made.put_up()
        yield made
        plane.stop()
        made.registry.stop()
    server.shutdown()
    thread.join(5)
    server.server_close()
