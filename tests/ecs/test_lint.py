"""The linter: clean definitions pass, each mistake is one finding, and no finding holds a value."""

from __future__ import annotations

import copy
import json
import random
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.ecs.difference import without_secrets
from gli_tasks.ecs.findings import Finding, Level
from gli_tasks.ecs.lint import lint, vcpus
from gli_tasks.ecs.plain_secrets import secret_in_text, secret_in_variable
from gli_tasks.ecs.references import Wanted
from gli_tasks.ecs.request_shape import shape_findings
from gli_tasks.ecs.verify import wanted_service
from gli_tasks.settings import load_all
from tests.ecs.verify_parts import change, variables
from tests.floor_parts import REPOSITORY, steady

REGION = "us-east-1"
DIGEST = "sha256:" + "0" * 64
CLEAN: dict[str, Any] = {
    "family": "api",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "256",
    "memory": "512",
    "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
    "containerDefinitions": [
        {
            "name": "api",
            "image": f"registry/api@{DIGEST}",
            "essential": True,
            "portMappings": [{"containerPort": 3000, "protocol": "tcp"}],
            "environment": [{"name": "REDIS_URL", "value": "rediss://cache:6379"}],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": "/ecs/api",
                    "awslogs-region": REGION,
                    "awslogs-stream-prefix": "ecs",
                },
            },
            "healthCheck": {"command": ["CMD-SHELL", "curl -f http://localhost:3000/"], "startPeriod": 60},
        }
    ],
}


def wanted(definition: dict[str, Any] | None = None, *, encrypted: bool | None = True, known: bool = True) -> Wanted:
    return Wanted(
        name="api",
        service="api",
        definition=copy.deepcopy(CLEAN) if definition is None else definition,
        container="api",
        port=3000,
        health_path="/health",
        target_group="api",
        repository="api",
        image_known=known,
        cache_encrypted=encrypted,
    )


def broken(findings: tuple[Finding, ...]) -> list[str]:
    assert all(one.remedy for one in findings if one.level is Level.NG)
    return [one.sentence for one in findings if one.level is Level.NG]


def test_a_clean_definition_is_one_finding() -> None:
    assert [(one.level, one.subject) for one in lint(wanted(), REGION)] == [(Level.OK, "api task definition")]


def definitions() -> list[tuple[str, Wanted, str]]:
    loaded, problems = load_all(REPOSITORY / "env", {"AWS_ACCOUNT_ID": "123456789012"})
    assert not problems
    return [
        (
            f"{one.settings.project} {one.settings.environment} {name}",
            wanted_service(one.settings, name, service, f"registry/api@{DIGEST}", "1", image_known=True),
            one.settings.aws.region,
        )
        for one in loaded
        if not any(name.startswith("services") for name in one.absent)
        for name, service in one.settings.ecs_services.items()
    ]


@pytest.mark.parametrize(("name", "one", "region"), definitions(), ids=[name for name, *_ in definitions()])
def test_the_projects_own_definitions_are_clean(name: str, one: Wanted, region: str) -> None:
    assert broken(lint(one, region)) == []


def test_there_are_definitions_of_both_projects() -> None:
    names = {name.partition(" ")[0] for name, *_ in definitions()}
    assert names == {"gli", "greenflow"}


#: Where, what it becomes (None takes it away), and a part of the one sentence that says so.
MISTAKES: dict[str, tuple[str, Any, str]] = {
    "latest": ("container.image", "registry/api:latest", "names its image by latest"),
    "no tag": ("container.image", "registry:5000/team/api", "names its image by no tag"),
    "a tag": ("container.image", "registry:5000/team/api:1.0.0", "by the tag 1.0.0, which can move"),
    "no image": ("container.image", "", "names no image"),
    "no health check": ("container.healthCheck", None, "serves port 3000 behind a load balancer and has no health"),
    "no start period": (
        "container.healthCheck",
        {"command": ["CMD", "true"], "interval": 10, "retries": 2},
        "without startPeriod: a start that takes longer than 20 s",
    ),
    "no logs": ("container.logConfiguration", None, "has no log configuration"),
    "no log group": (
        "container.logConfiguration.options",
        {"awslogs-region": REGION, "awslogs-stream-prefix": "ecs"},
        "without awslogs-group",
    ),
    "no stream prefix": (
        "container.logConfiguration.options",
        {"awslogs-region": REGION, "awslogs-group": "/ecs/api"},
        "without awslogs-stream-prefix",
    ),
    "log elsewhere": (
        "container.logConfiguration.options",
        {"awslogs-region": "eu-west-1", "awslogs-group": "/ecs/api", "awslogs-stream-prefix": "ecs"},
        "writes its log to eu-west-1",
    ),
    "redis": ("container.environment", variables(REDIS_URL="redis://cache:6379"), "by redis:// in REDIS_URL"),
    "redis in capitals": ("container.environment", variables(CACHE="REDIS://cache"), "by redis:// in CACHE"),
    "privileged": ("container.privileged", True, "is privileged"),
    "a long stop": ("container.stopTimeout", 121, "a stopTimeout of 121 s"),
    "a port that is not open": ("container.portMappings", [{"containerPort": 80}], "does not open port 3000"),
    "no ports": ("container.portMappings", None, "does not open port 3000"),
    "udp": ("container.portMappings", [{"containerPort": 3000, "protocol": "udp"}], "opens port 3000 for udp"),
    "CPU": ("cpu", "300", "a CPU size of 300"),
    "no CPU": ("cpu", None, "a CPU size of nothing"),
    "memory": ("memory", "4096", "CPU 256 with memory 4096"),
    "no memory": ("memory", None, "with memory nothing"),
    "bridge": ("networkMode", "bridge", "is not of network mode awsvpc"),
    "no execution role": ("executionRoleArn", None, "names no execution role"),
    "a password": ("container.environment", variables(DB_PASSWORD="hunter2"), "variable DB_PASSWORD a secret"),
    "a command's password": (
        "container.command",
        ["migrate", "postgres://app:hunter2@db/app"],
        "holds in its command an address with a password",
    ),
    "a log option's webhook": (
        "container.logConfiguration.options.labels",
        "https://hooks.slack.com/services/T0/B0/x",
        "log option labels a webhook's address",
    ),
    "a label's key": ("container.dockerLabels", {"key": "AKIAIOSFODNN7EXAMPLE"}, "label key an AWS access key"),
    "no family": ("family", None, "names no family"),
    "depends on nobody": (
        "container.dependsOn",
        [{"containerName": "proxy", "condition": "START"}],
        "lets api depend on a container 'proxy' that is not there",
    ),
    "depends on itself": ("container.dependsOn", [{"containerName": "api", "condition": "START"}], "on itself"),
    "more memory than the task": ("container.memory", 1024, "has containers of 1024 MiB in all, and the task has 512"),
    "more CPU than the task": ("container.cpu", 512, "has containers of 512 CPU units in all, and the task has 256"),
    "a variable twice": ("container.environment", variables(A="1") + variables(A="2"), "has 2 variables A"),
    "a variable and a secret": (
        "container.secrets",
        [{"name": "REDIS_URL", "valueFrom": "/redis"}],
        "has 2 variables REDIS_URL",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_exactly_one_finding(mistake: str) -> None:
    path, value, part = MISTAKES[mistake]
    found = broken(lint(change(wanted(), path, value), REGION))
    assert len(found) == 1
    assert part in found[0]


def test_a_limit_above_the_task_s_memory() -> None:
    definition = copy.deepcopy(CLEAN)
    definition["containerDefinitions"][0] |= {"memory": 1024, "memoryReservation": 256}
    assert broken(lint(wanted(definition), REGION)) == ["gives api more memory than the task's 512 MiB"]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("container.healthCheck.interval", "hunter2x", "containerDefinitions[0].healthCheck.interval has a value of a"),
        ("container.dependsOn", [{"condition": "START"}], "containerDefinitions[0].dependsOn[0] lacks containerName"),
        ("container.comand", ["hunter2x"], "containerDefinitions[0] has comand, which"),
        ("family", None, "the top level lacks family"),
        ("containerDefinitions", "hunter2x", "containerDefinitions has a value of a type"),
    ],
)
def test_what_aws_has_no_room_for_is_named_by_its_place_alone(path: str, value: Any, sentence: str) -> None:
    assert shape_findings(wanted()) == ()
    (found,) = shape_findings(change(wanted(), path, value))
    assert (found.level, found.sentence.startswith(sentence)) == (Level.NG, True), found
    assert "hunter2x" not in str(found)


def test_a_container_that_serves_must_be_essential() -> None:
    found = broken(lint(change(wanted(), "container.essential", False), REGION))
    assert found == [
        "has no essential container",
        "serves, and is not essential: its end would go unnoticed",
    ]


def test_a_container_of_another_name() -> None:
    found = broken(lint(change(wanted(), "container.name", "web"), REGION))
    assert found == ["has no container 'api'"]


def test_a_definition_without_containers() -> None:
    found = broken(lint(change(wanted(), "containerDefinitions", []), REGION))
    assert found == ["has no container 'api'", "has no essential container"]


def test_a_container_beside_the_one_that_serves_needs_no_health_check() -> None:
    definition = copy.deepcopy(CLEAN)
    beside = {"name": "agent", "image": "agent:latest", "essential": False}
    definition["containerDefinitions"].append({**beside, "logConfiguration": {"logDriver": "awsfirelens"}})
    found = lint(wanted(definition), REGION)
    assert [(one.subject, one.sentence.partition(",")[0]) for one in found] == [
        ("api container agent", "names its image by latest")
    ]


def test_an_image_that_is_not_pushed_yet_may_be_named_by_its_tag() -> None:
    tagged = change(wanted(known=False), "container.image", "registry:5000/api:0123456789ab")
    assert broken(lint(tagged, REGION)) == []
    latest = change(wanted(known=False), "container.image", "registry:5000/api:latest")
    assert len(broken(lint(latest, REGION))) == 1


def test_a_start_period_of_nothing_is_a_decision() -> None:
    assert broken(lint(change(wanted(), "container.healthCheck.startPeriod", 0), REGION)) == []


@pytest.mark.parametrize(
    ("encrypted", "value", "count"),
    [
        (True, "redis://cache:6379", 1),
        (True, "rediss://cache:6379", 0),
        (True, "redis://a:6379,redis://b:6379", 1),
        (False, "redis://cache:6379", 0),
        (False, "rediss://cache:6379", 1),
        (None, "redis://cache:6379", 0),
        (None, "rediss://cache:6379", 0),
    ],
)
def test_the_cache_is_reached_as_it_is_encrypted(encrypted: bool | None, value: str, count: int) -> None:
    one = change(wanted(encrypted=encrypted), "container.environment", variables(REDIS_URL=value))
    assert len(broken(lint(one, REGION))) == count


def test_on_instances_sizes_and_stop_are_free() -> None:
    definition = {**copy.deepcopy(CLEAN), "requiresCompatibilities": ["EC2"], "cpu": "300", "networkMode": "bridge"}
    definition["containerDefinitions"][0]["stopTimeout"] = 600
    assert broken(lint(wanted(definition), REGION)) == []


@pytest.mark.parametrize(
    ("cpu", "memory", "fits"),
    [
        ("256", "512", True),
        (".25 vCPU", "0.5 GB", True),
        ("1 vCPU", "2GB", True),
        ("1024", "8192", True),
        ("1024", "9216", False),
        ("4096", "30720", True),
        ("4096", "7168", False),
        ("8192", "61440", True),
        ("8192", "17408", False),
        ("16384", "122880", True),
        ("32768", "122880", False),
        ("some", "512", False),
    ],
)
def test_fargate_s_sizes(cpu: str, memory: str, fits: bool) -> None:
    definition = {**copy.deepcopy(CLEAN), "cpu": cpu, "memory": memory}
    assert (broken(lint(wanted(definition), REGION)) == []) is fits


def test_vcpus_of_a_task() -> None:
    assert [vcpus({"cpu": cpu}) for cpu in ("256", "2 vCPU", "", "x")] == [0.25, 2.0, 0.0, 0.0]


#: The definition of the GreenFlow guide.
GUIDE: dict[str, Any] = {
    "family": "greenflow-api-prod",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "1024",
    "memory": "2048",
    "containerDefinitions": [
        {
            "name": "greenflow-api",
            "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/greenflow-api:latest",
            "portMappings": [{"containerPort": 3000, "hostPort": 3000, "protocol": "tcp"}],
            "environment": variables(
                NODE_ENV="production",
                DATABASE_URL="postgres://glec_admin:password@prod-db.rds.amazonaws.com:5432/glec_prod",
                REDIS_URL="redis://prod-cache.cache.amazonaws.com:6379",
                API_PREFIX="/api/v2",
                LOG_LEVEL="warn",
            ),
            "logConfiguration": CLEAN["containerDefinitions"][0]["logConfiguration"],
            "healthCheck": {
                "command": ["CMD-SHELL", "curl -f http://localhost:3000/api/v2/health || exit 1"],
                "interval": 30,
                "timeout": 5,
                "retries": 3,
                "startPeriod": 60,
            },
        }
    ],
}


def test_the_mistakes_of_the_guide_are_found() -> None:
    service = replace(wanted(GUIDE), container="greenflow-api")
    assert broken(lint(service, REGION)) == [
        "names no execution role, and needs one for its logs or secrets",
        "names its image by latest, which says nothing of what will run",
        "holds in its environment variable DATABASE_URL an address with a password in it, in plain text",
        "reaches the cache by redis:// in REDIS_URL, and the cache takes TLS alone",
    ]


SECRETS = {
    "DB_PASSWORD": "hunter2",
    "DbPassword": "hunter2",
    "db.password": "hunter2",
    "PGPASSWORD_FILE_CONTENT": "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
    "SECRET_KEY_PRODUCTION": "a word",
    "JWT_PRIVATE_KEY_STAGING": "anything",
    "SLACK_TOKEN": "x",
    "GITHUB_CREDENTIALS": "x",
    "API_KEY": "12345678",
    "APIKEY_2": "12345678",
    "WHATEVER": "AKIAIOSFODNN7EXAMPLE",
    "ANYTHING": "postgres://app:hunter2@db.example.com/app",
    "BROKER": "amqps://app:hunter2@mq/",
    "CACHE": "rediss://:hunter2@cache:6379",
    "HOOK": "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXX",
    "GH": "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "STRIPE": "sk_live_0123456789abcdefghij",
    "SESSION": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "RANDOM_BASE64": "q3Zk9vB1xT7mLw2Rf8sJ0aYh",
    "RANDOM_HEX": "9f86d081884c7d659a2feaa0c55ad015",
    "DJANGO": "8k^2x!a#0v$q7z@m1(r5&w9*t3-p6=y4+u_e",
}
SECRETS |= {
    **dict.fromkeys(("PGPASSWORD", "DBPASSWORD", "DB_PASS_PROD", "DB_PW", "REDISCLI_AUTH", "BASIC_AUTH"), "hunter2"),
    "JDBC": "jdbc:postgresql://db/app?user=a&password=hunter2",
    "DSN": "host=db user=app password=hunter2",
    "CONFIG": '{"password":"hunter2"}',
}
NO_SECRETS = {
    "VAPID_PUBLIC_KEY": "BNbxGYNMhEIi9zrneh7mqV4oUanjLUK3m0mYZBc9X4z8k2Qr5Tt7",
    "COGNITO_CLIENT_ID": "1h57kf5cpq17m0eml12EXAMPLE7",
    "COGNITO_USER_POOL_ID": "ap-northeast-2_aB3dE5gH7",
    "STRIPE_PUBLISHABLE_KEY": "pk_live_51Hx9aB3dE5gH7kL2mN4pQ6",
    "RECAPTCHA_SITE_KEY": "6LeIxAcTAAAAAJcZVRqyHh71UMIEGNQ3kb7",
    "TOKEN_TIMEOUT": "30",
    "TOKENS": "30",
    "PASSWORD_HASHER": "argon2",
    "SECRET_MANAGER": "aws",
    "CREDENTIALS_MODE": "include",
    "APP_VERSION": "0123456789ab",
    "GIT_COMMIT": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "IMAGE_DIGEST": "9f86d081884c7d659a2feaa0c55ad015",
    "AWS_STORAGE_BUCKET_NAME": "gli-platform-media-prod",
    "CORS_ALLOWED_ORIGINS": "https://glibiz.com,https://www.glibiz.com,https://admin.glibiz.com",
    "DB_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf",
    "DB_SECRET": "aws-sm:gli/db#password",
    "PASSWORD_MIN_LENGTH": "12",
    "TOKEN_TTL": "3600",
    "TOKEN_URL": "https://login.example.com/oauth/token",
    "ACCESS_TOKEN_LIFETIME": "3600",
    "REQUIRE_PASSWORD": "true",
    "JWT_PUBLIC_KEY": "ssh-rsa",
    "DB_PASSWORD": "",
    "DB_PASSWORD_FILE": "/run/secrets/db",
    "DB_HOST": "gli-db-prod.cp4ems4wqez2.ap-northeast-2.rds.amazonaws.com",
    "REDIS_URL": "rediss://prod-cache.cache.amazonaws.com:6379",
    "DISTRIBUTION": "E31LKUK6NABDLS",
    "TENANT_ID": "123e4567-e89b-12d3-a456-426614174000",
    "SETTINGS_MODULE": "config.settings.production",
    "FEATURES": "NewCheckoutFlow2026,DarkModeForEveryone",
    "QUEUE": "AppConfig2026ProductionSettingsQueue",
    "ZONE": "us-east-1a-prod-web-01",
    "NODE": "ip-10-0-1-5-ap-northeast-2-compute-internal",
    "MEASUREMENT": "G-XXXXXXXXXX",
    "PREFIX": "2026-02-04/releases/2026-02-04T01-02-03Z",
    "LOG_PATH": "/var/log/gli/production/api-server-2026.log",
    "KEYBOARD": "english",
    "COMPASS": "north",
    "SENTRY_DSN": "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/1",
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_in_plain_text_are_known(name: str) -> None:
    assert secret_in_variable(name, SECRETS[name])


@pytest.mark.parametrize(
    "text",
    [
        "PGPASSWORD=hunter2 psql -h db",
        "migrate --password=hunter2",
        "migrate --password hunter2",
        "curl -u app:hunter2 http://localhost/",
        "mysql -h db -phunter2 app",
    ],
)
def test_secrets_in_a_command_are_known_and_masked(text: str) -> None:
    assert secret_in_text(text)
    assert "hunter2" not in without_secrets(text) or text.endswith("--password hunter2")


@pytest.mark.parametrize(
    "text",
    ["PGPASSWORD=$DB_PASSWORD psql", "serve --token-ttl=30 --token-timeout 30", "curl -f http://localhost:3000/health"],
)
def test_a_command_without_secrets_is_left_alone(text: str) -> None:
    assert secret_in_text(text) == ""


@pytest.mark.parametrize("name", NO_SECRETS)
def test_what_is_no_secret_is_left_alone(name: str) -> None:
    assert secret_in_variable(name, NO_SECRETS[name]) == ""


ALPHANUMERIC = string.ascii_letters + string.digits
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=60)


@steady
@given(VALUES)
def test_no_finding_holds_a_value(value: str) -> None:
    one = change(wanted(), "container.environment", variables(DB_PASSWORD=value, OTHER=f"postgres://a:{value}@h/"))
    one = change(one, "container.command", ["run", f"postgres://a:{value}@h/"])
    assert value not in json.dumps([f"{each.subject} {each.sentence} {each.remedy}" for each in lint(one, REGION)])


@pytest.mark.parametrize(
    ("alphabet", "length"),
    [("0123456789abcdef", 32), (ALPHANUMERIC, 24), (f"{ALPHANUMERIC}-_", 32), (f"{ALPHANUMERIC}+/", 40)],
    ids=["hex", "alphanumeric", "urlsafe", "base64"],
)
def test_tokens_drawn_by_chance_are_seldom_missed(alphabet: str, length: int) -> None:
    chance = random.Random(7)
    tokens = ["".join(chance.choices(alphabet, k=length)) for _ in range(500)]
    missed = sum(secret_in_variable("VALUE", token) == "" for token in tokens)
    assert missed <= 0.03 * len(tokens)
