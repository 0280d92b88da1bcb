"""What differs between two task definitions, as a person reads it: never a secret."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.console import MASK
from gli_tasks.ecs.difference import NONE, Change, differences, without_secrets
from gli_tasks.rehearsal.ecs.registration import complete
from tests.ecs.rollout_parts import ROLE
from tests.floor_parts import steady


def definition(**container: Any) -> dict[str, Any]:
    return {
        "family": "api",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": ROLE,
        "containerDefinitions": [{"name": "gli-api", "image": "r/api@sha256:1", **container}],
    }


def environment(**values: str) -> dict[str, Any]:
    return definition(environment=[{"name": name, "value": value} for name, value in values.items()])


def texts(before: dict[str, Any] | None, after: dict[str, Any]) -> list[str]:
    return [str(change) for change in differences(before, after)]


def test_a_variable_is_named_by_its_name() -> None:
    changes = differences(environment(APP_VERSION="a", KEPT="x"), environment(KEPT="x", APP_VERSION="b"))
    assert changes == (Change("containerDefinitions[gli-api].environment[APP_VERSION]", '"a"', '"b"'),)


def test_the_image_comes_first_and_what_is_not_there_says_so() -> None:
    before = definition(environment=[{"name": "A", "value": "1"}])
    after = definition(image="r/api@sha256:2", secrets=[{"name": "B", "valueFrom": "arn:b"}])
    assert texts(before, after) == [
        'containerDefinitions[gli-api].image  "r/api@sha256:1" → "r/api@sha256:2"',
        f'containerDefinitions[gli-api].environment[A]  "1" → {NONE}',
        f'containerDefinitions[gli-api].secrets[B]  {NONE} → "arn:b"',
    ]


def test_lists_of_named_things_are_compared_by_name_and_commands_as_a_whole() -> None:
    before = definition(
        portMappings=[{"containerPort": 8000}, {"containerPort": 53, "protocol": "udp"}],
        command=["a", "b"],
        dockerLabels={"com.example.team": "core"},
    )
    after = definition(
        portMappings=[{"containerPort": 53, "protocol": "udp"}, {"containerPort": 9000, "protocol": "tcp"}],
        command=["b", "a"],
        dockerLabels={"com.example.team": "web"},
    )
    where = "containerDefinitions[gli-api]"
    assert texts(before, after) == [
        f'{where}.command  ["a", "b"] → ["b", "a"]',
        f'{where}.dockerLabels[com.example.team]  "core" → "web"',
        f"{where}.portMappings[8000/tcp].hostPort  8000 → {NONE}",
        f"{where}.portMappings[9000/tcp].hostPort  {NONE} → 9000",
    ]


def test_without_one_before_all_of_it_is_new() -> None:
    changes = differences(None, definition())
    assert {change.before for change in changes} == {NONE}
    assert 'containerDefinitions[gli-api].image  (none) → "r/api@sha256:1"' in map(str, changes)


def test_what_aws_fills_in_is_no_change() -> None:
    asked = definition(
        portMappings=[{"containerPort": 8000}],
        healthCheck={"command": ["CMD", "true"]},
        environment=[{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
    )
    registered = complete(asked) | {"taskDefinitionArn": "arn:x:1", "revision": 1, "status": "ACTIVE"}
    assert differences(registered, asked) == ()
    assert differences(asked, registered) == ()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgres://app:hunter2x@db/gli", f"postgres://app:{MASK}@db/gli"),
        ("redis://:hunter@2x@cache:6379", f"redis://:{MASK}@cache:6379"),
        ("AKIAIOSFODNN7EXAMPLE", MASK),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII", MASK),
        ("https://hooks.slack.com/services/T0/B0/x", MASK),
        ("ghp_0123456789012345678901234567890123456789", MASK),
        ("migrate --db-password=hunter2x --fake", f"migrate --db-password={MASK} --fake"),
        ("A=1,PGPASSWORD=hunter2x", f"A=1,PGPASSWORD={MASK}"),
        ('{"password": "hunter2x", "port": 1}', f'{{"password": "{MASK}", "port": 1}}'),
        ("https://api/?access_token=hunter2x", f"https://api/?access_token={MASK}"),
        (
            "arn:aws:secretsmanager:x:1:secret:gli/db-u1:password::",
            "arn:aws:secretsmanager:x:1:secret:gli/db-u1:password::",
        ),
        ("https://glibiz.com,https://www.glibiz.com", "https://glibiz.com,https://www.glibiz.com"),
        ("--secret=aws-sm:gli/db#password", "--secret=aws-sm:gli/db#password"),
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(value: str, shown: str) -> None:
    assert without_secrets(value) == shown
    (change,) = differences(environment(A="x"), environment(A=value))
    assert change.after == json.dumps(shown)


def test_the_word_after_a_flag_that_says_secret_is_masked() -> None:
    (change,) = differences(
        definition(), definition(command=["run", "--password", "hunter2x", "--token=hunter2x", "go"])
    )
    assert change.after == f'["run", "--password", "{MASK}", "--token={MASK}", "go"]'


def test_a_secret_is_masked_where_else_it_appears_and_a_change_of_it_is_still_seen() -> None:
    before = environment(DB_PASSWORD='hun"ter2x', NOTE='uses hun"ter2x')
    after = environment(DB_PASSWORD="an0therone", NOTE="uses an0therone")
    assert texts(before, after) == [
        f'containerDefinitions[gli-api].environment[DB_PASSWORD]  "{MASK}" → "{MASK}"',
        f'containerDefinitions[gli-api].environment[NOTE]  "uses {MASK}" → "uses {MASK}"',
    ]


def test_a_key_that_the_linter_knows_is_masked_and_a_commit_is_not() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    before, after = (
        environment(API_KEY="hunter2x", APP_VERSION="a"),
        environment(API_KEY="hunter3x", APP_VERSION=commit),
    )
    assert [change.after for change in differences(before, after)] == [f'"{MASK}"', f'"{commit}"']


NAMES = st.sampled_from(["APP_VERSION", "DB_HOST", "DB_PASSWORD", "API_TOKEN", "PORT", "A.B", "x[y]"])
VALUES = st.text(max_size=12)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=5)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    made = definition(
        environment=[{"name": name, "value": value} for name, value in draw(PAIRS)],
        secrets=[{"name": name, "valueFrom": f"arn:{value}"} for name, value in draw(PAIRS)],
        portMappings=[{"containerPort": port} for port in draw(st.lists(st.integers(1, 99), max_size=3))],
        dockerLabels=dict(draw(PAIRS)),
        command=draw(st.lists(VALUES, max_size=3)),
        essential=draw(st.booleans()),
    )
    more = draw(st.lists(st.sampled_from(["side", "proxy"]), unique=True))
    made["containerDefinitions"] += [{"name": name, "image": draw(VALUES)} for name in more]
    return made


def shuffled(tree: dict[str, Any]) -> dict[str, Any]:
    turned = copy.deepcopy(tree)
    turned["containerDefinitions"].reverse()
    for container in turned["containerDefinitions"]:
        for key in ("environment", "secrets", "portMappings"):
            container.get(key, []).reverse()
    return turned


@steady
@given(definitions())
def test_equal_ones_do_not_differ_whatever_the_order_of_their_lists(one: dict[str, Any]) -> None:
    assert differences(one, copy.deepcopy(one)) == ()
    assert differences(one, shuffled(one)) == ()


@steady
@given(definitions(), definitions())
def test_the_way_back_names_the_same_places(one: dict[str, Any], other: dict[str, Any]) -> None:
    there, back = differences(one, other), differences(other, one)
    assert [(change.path, change.before, change.after) for change in there] == [
        (change.path, change.after, change.before) for change in back
    ]


@steady
@given(definitions(), st.text("abcdefghijkXYZ0123456789+=\"'\\ \n", min_size=8, max_size=20), st.booleans())
def test_no_value_of_a_key_that_says_secret_is_ever_shown(one: dict[str, Any], secret: str, quoted: bool) -> None:
    marked = f"Q{secret}Q"
    other = copy.deepcopy(one)
    other["containerDefinitions"][0]["environment"].append({"name": "DB_PASSWORD", "value": marked})
    other["containerDefinitions"][0]["dockerLabels"]["note"] = f"it is {marked}" if quoted else marked
    shown = "".join(f"{change.path}{change.before}{change.after}" for change in differences(one, other))
    assert marked not in shown
    assert json.dumps(marked)[1:-1] not in shown
