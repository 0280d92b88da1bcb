"""The wall around a plan: what reads passes, what writes does not, by every way out of the process.

Each test runs in a process of its own, since the wall has no way back.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from gli_tasks.aws import is_read
from tests.floor_parts import REPOSITORY, clean_process_environment


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def run(program: str, **environment: str) -> str:
    """Run a program behind the wall, and return what it printed."""
    text = "from gli_tasks.errors import PlanWouldWrite\nfrom gli_tasks import guard\nguard.forbid_writes()\n"
    done = subprocess.run(
        [sys.executable, "-c", text + textwrap.dedent(program)],
        cwd=REPOSITORY,
        env={**clean_process_environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_aws_answers_reads_and_is_not_asked_to_write(endpoint: str) -> None:
    said = run(
        """
        import threading
        from gli_tasks.aws import Aws
        aws = Aws("us-east-1", "123456789012")
        print(aws.client("s3").list_buckets()["Buckets"])
        print(aws.client("sts").get_caller_identity()["Account"])
        writes = [
            lambda: aws.client("s3").create_bucket(Bucket="forged"),
            lambda: aws.client("s3").put_object(Bucket="forged", Key="a", Body=b""),
            lambda: aws.client("ecs").update_service(cluster="c", service="s"),
            lambda: aws.client("secretsmanager").put_secret_value(SecretId="a", SecretString="b"),
            lambda: aws.client("sns").publish(TopicArn="arn:aws:sns:us-east-1:123456789012:a", Message="b"),
            lambda: aws.client("ecs").run_task(taskDefinition="a"),
        ]
        def forge(write):
            try:
                write()
                print("written")
            except PlanWouldWrite as error:
                print(error.what)
        for write in writes:
            forge(write)
        # Another thread is behind the same wall.
        thread = threading.Thread(target=forge, args=(writes[0],))
        thread.start()
        thread.join()
        print(aws.client("s3").list_buckets()["Buckets"])
        """,
        AWS_ENDPOINT_URL=endpoint,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
    )
    assert said.splitlines() == [
        "[]",
        "123456789012",
        "a plan tried to write: s3 CreateBucket",
        "a plan tried to write: s3 PutObject",
        "a plan tried to write: ecs UpdateService",
        "a plan tried to write: secretsmanager PutSecretValue",
        "a plan tried to write: sns Publish",
        "a plan tried to write: ecs RunTask",
        "a plan tried to write: s3 CreateBucket",
        "[]",
    ]


@pytest.mark.parametrize(
    "operation",
    ["DescribeServices", "GetObject", "ListTasks", "HeadBucket", "BatchGetImage", "AssumeRole", "GetCallerIdentity"],
)
def test_reads_are_known_by_aws_own_names(operation: str) -> None:
    assert is_read(operation)


@pytest.mark.parametrize(
    "operation",
    ["UpdateService", "PutImage", "Getaway", "RegisterTaskDefinition", "ExecuteCommand", "StartQuery", "TagResource"],
)
def test_all_else_counts_as_a_write(operation: str) -> None:
    assert not is_read(operation)


def test_git_looks_and_changes_nothing(tmp_path: Path) -> None:
    said = run(
        """
        import os
        from pathlib import Path
        from gli_tasks.source import git
        folder = Path(os.environ["FOLDER"])
        print(git(Path.cwd(), "rev-parse", "--is-inside-work-tree").strip())
        tries = [
            ("init",),
            ("tag", "forged"),
            ("push", "origin", "main"),
            ("-c", "alias.log=!touch forged", "log"),
            ("log", "--output=forged"),
            ("diff", "--ext-diff"),
            ("ls-remote", "--upload-pack=touch forged", "."),
            ("branch", "forged"),
        ]
        for words in tries:
            try:
                git(folder, *words)
                print("written")
            except PlanWouldWrite as error:
                print("kept")
        print(sorted(folder.iterdir()))
        """,
        FOLDER=str(tmp_path),
    )
    assert said.splitlines() == ["true", *["kept"] * 8, "[]"]


def test_no_other_program_is_started(tmp_path: Path) -> None:
    said = run(
        """
        import os
        from gli_tasks import shell
        for argv in (["touch", os.environ["FILE"]], ["npm", "run", "build"], ["/usr/bin/git", "status"]):
            try:
                shell.run(argv)
                print("started")
            except PlanWouldWrite as error:
                print(error.what)
        """,
        FILE=str(tmp_path / "forged"),
    )
    assert said.splitlines()[1:] == [
        "a plan tried to write: npm run build",
        "a plan tried to write: /usr/bin/git status",
    ]
    assert "started" not in said
    assert not (tmp_path / "forged").exists()


def test_http_asks_and_tells_nobody(endpoint: str) -> None:
    said = run(
        """
        import os
        from gli_tasks.console import Secret
        from gli_tasks.notify.plan import News
        from gli_tasks.notify.slack import send
        from gli_tasks.web import http_client
        with http_client() as client:
            print(client.get(os.environ["PLACE"]).status_code)
        try:
            send(Secret(os.environ["PLACE"]), News("gli", "prod", "-", "healthy", "kim", 1.0, {}), "")
            print("told")
        except PlanWouldWrite as error:
            print(error.what)
        """,
        PLACE=f"{endpoint}/moto-api/config",
    )
    assert said.splitlines() == ["201", "a plan tried to write: POST 127.0.0.1"]
