"""The committed policies: made of the calls that were seen, enough for the tasks, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import botocore.session
import pytest

from gli_tasks.aws import is_read
from tests.end_to_end.conftest import traces, wait_until_gone
from tests.end_to_end.policies import API, FOLDER, GROUPS, YES, E, Groups, files_of, main, other_settings, read_groups
from tests.end_to_end.policy_desk import Desk, standing_twin
from tests.end_to_end.policy_documents import Policy, allows, fill, placeholders, policy_of
from tests.end_to_end.policy_names import PLACEHOLDERS, names_of, place_of
from tests.end_to_end.policy_rules import ANYWHERE, Call, Need, Place, general, needs_of, read_call

PLACE = Place("123456789012", "us-east-1", ("starts",), ("runs",))
NAMES = {"Account": ["123456789012"], "Region": ["us-east-1"], "Cluster": ["shop"], "Service": ["api", "web"]}
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/shop"
HERE = (("ecs:cluster", CLUSTER),)
#: By the prefix of their actions: what botocore calls the services of which any policy may speak.
MODELS = {
    "application-autoscaling": "application-autoscaling",
    "ec2": "ec2",
    "ecr": "ecr",
    "ecs": "ecs",
    "elasticloadbalancing": "elbv2",
    "iam": "iam",
    "logs": "logs",
    "s3": "s3",
    "secretsmanager": "secretsmanager",
    "servicequotas": "service-quotas",
    "ssm": "ssm",
}


def committed(group: str) -> Policy:
    policy: Policy = json.loads((FOLDER / f"{group}.json").read_text(encoding="utf-8"))
    return policy


@pytest.fixture(scope="module")
def groups() -> Groups:
    return read_groups()


def call(service: str, operation: str, **touched: tuple[str, ...]) -> Call:
    return Call(service, operation, tuple(sorted(touched.items())))


# What is committed


def test_the_files_are_made_of_the_calls_and_of_nothing_else(groups: Groups) -> None:
    made = files_of(groups)
    assert set(made) == {file.name for file in FOLDER.iterdir()}
    for name, text in made.items():
        remedy = f"{name} is another: run `python -m tests.end_to_end.policies --from-calls`"
        assert (FOLDER / name).read_text(encoding="utf-8") == text, remedy
    assert set(groups) == set(GROUPS)


@pytest.mark.parametrize("group", GROUPS)
def test_a_policy_is_one_that_iam_takes(group: str) -> None:
    policy = committed(group)
    assert policy["Version"] == "2012-10-17"
    sids = [one["Sid"] for one in policy["Statement"]]
    assert len(set(sids)) == len(sids)
    for one in policy["Statement"]:
        assert one["Sid"].isalnum()
        assert one["Effect"] == "Allow"
        assert one["Resource"]
        assert {action.partition(":")[0] for action in one["Action"]} & set(MODELS)
        assert not any("*" in action for action in one["Action"])
        assert not any(resource.endswith(("/", ":")) or "//" in resource for resource in one["Resource"])
    assert placeholders(policy) <= set(PLACEHOLDERS)


@pytest.mark.parametrize("group", GROUPS)
def test_every_action_was_asked_for_and_every_call_is_allowed(groups: Groups, group: str) -> None:
    policy = committed(group)
    needs = {need for one in groups[group].calls for need in needs_of(one, ANYWHERE)}
    assert needs
    assert all(allows(policy, need) for need in needs)
    allowed = {(action, arn) for one in policy["Statement"] for action in one["Action"] for arn in one["Resource"]}
    assert allowed == {(need.action, need.resource) for need in needs}


def test_who_reads_changes_nothing(groups: Groups) -> None:
    read = committed("read")
    actions = {action for one in read["Statement"] for action in one["Action"]}
    assert all(is_read(action.partition(":")[2]) for action in actions)
    changing = {
        need
        for played in groups.values()
        for one in played.calls
        for need in needs_of(one, ANYWHERE)
        if not is_read(need.action.partition(":")[2])
    }
    assert {need.action.partition(":")[0] for need in changing} == {
        "application-autoscaling",
        "ecr",
        "ecs",
        "iam",
        "s3",
    }
    assert [need for need in changing if allows(read, need)] == []
    session = botocore.session.get_session()
    operations = [
        (prefix, one) for prefix, name in MODELS.items() for one in session.get_service_model(name).operation_names
    ]
    allowed = {one for one in operations if f"{one[0]}:{one[1]}" in actions}
    assert allowed
    assert not any(is_read(name) is False for _, name in allowed)


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "release"])
def test_nobody_else_may_release(group: str) -> None:
    actions = {action for one in committed(group)["Statement"] for action in one["Action"]}
    assert "ecs:RegisterTaskDefinition" not in actions


# The rules, without a twin


def test_an_arn_and_a_name_touch_the_same() -> None:
    arn = "arn:aws:ecs:us-east-1:1:"
    row = {
        "service": "ecs",
        "operation": "UpdateService",
        "named": {
            "cluster": [f"{arn}cluster/shop"],
            "service": [f"{arn}service/shop/api"],
            "taskDefinition": [f"{arn}task-definition/shop-api:7"],
        },
    }
    short = {"cluster": ["shop"], "service": ["api"], "taskDefinition": ["shop-api"]}
    assert read_call(row) == read_call({**row, "named": short})
    assert read_call(row) == call("ecs", "UpdateService", Cluster=("shop",), Service=("api",), TaskFamily=("shop-api",))
    revisions = {"serviceRevisionArns": [f"{arn}service-revision/shop/api/1", f"{arn}service-revision/shop/api/2"]}
    assert read_call({**row, "named": revisions}).touched == (("Cluster", ("shop",)), ("Service", ("api",)))
    secrets = ["arn:aws:secretsmanager:us-east-1:1:secret:shop/db-AbC123", "shop/master"]
    found = read_call({"service": "secretsmanager", "operation": "GetSecretValue", "named": {"SecretId": secrets}})
    assert found.names("Secret") == ("shop/db", "shop/master")


def test_what_no_setting_names_is_told() -> None:
    known = {"Cluster": {"shop": "${Cluster}"}, "Bucket": {"state": "${StateBucket}"}}
    described = call("ecs", "DescribeClusters", Cluster=("shop",))
    assert general(described, known).names("Cluster") == ("${Cluster}",)
    with pytest.raises(LookupError, match="ecs DescribeClusters touched the Cluster 'other', which no setting names"):
        general(call("ecs", "DescribeClusters", Cluster=("other",)), known)
    records = call("s3", "GetObject", Bucket=("state",), Key=("releases/1.json", "releases/2.json"))
    assert general(records, known).names("Key") == ("releases/*",)


@pytest.mark.parametrize(
    ("service", "operation"), [("ecs", "CreateCluster"), ("sqs", "SendMessage"), ("s3", "DeleteObject")]
)
def test_an_operation_without_a_rule_is_told(service: str, operation: str) -> None:
    with pytest.raises(LookupError, match=f"no rule says what {service} {operation} needs"):
        needs_of(call(service, operation, Cluster=("shop",), Bucket=("state",), Key=("k",)), PLACE)


def test_a_task_definition_is_registered_with_its_tags_and_roles() -> None:
    given = call("ecs", "RegisterTaskDefinition", TaskFamily=("shop-api",), Role=("runs", "starts"), tags=())
    family = "arn:aws:ecs:us-east-1:123456789012:task-definition/shop-api:*"
    passed = (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
    assert set(needs_of(given, PLACE)) == {
        Need("ecs:RegisterTaskDefinition", family),
        Need("ecs:TagResource", family, (("ecs:CreateAction", "RegisterTaskDefinition"),)),
        Need("iam:PassRole", "arn:aws:iam::123456789012:role/runs", passed),
        Need("iam:PassRole", "arn:aws:iam::123456789012:role/starts", passed),
    }


def test_roles_are_passed_where_a_service_gets_another_definition_and_not_where_it_is_scaled() -> None:
    where = {"Cluster": ("shop",), "Service": ("api",)}
    scaled = needs_of(call("ecs", "UpdateService", **where), PLACE)
    assert [need.action for need in scaled] == ["ecs:UpdateService"]
    rolled = needs_of(call("ecs", "UpdateService", TaskFamily=("shop-api",), **where), PLACE)
    assert sorted(need.resource.rpartition("/")[2] for need in rolled) == ["api", "runs", "starts"]


@pytest.mark.parametrize(
    ("operation", "action"),
    [("ListObjectsV2", "s3:ListBucket"), ("HeadObject", "s3:GetObject"), ("PutObject", "s3:PutObject")],
)
def test_s3_s_actions_have_names_of_their_own(operation: str, action: str) -> None:
    found = needs_of(call("s3", operation, Bucket=("state",), Key=("lock.json",)), PLACE)
    assert action in {need.action for need in found}


def test_a_push_needs_what_docker_asks_before_it_sends() -> None:
    found = needs_of(call("ecr", "InitiateLayerUpload", Repository=("api",)), PLACE)
    assert {need.action for need in found} == {
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:InitiateLayerUpload",
    }


def test_a_policy_allows_its_needs_and_nothing_beside_them() -> None:
    update = Need("ecs:UpdateService", "arn:aws:ecs:us-east-1:123456789012:service/shop/api", HERE)
    policy = fill(
        policy_of(needs_of(call("ecs", "UpdateService", Cluster=("${Cluster}",), Service=("${Service}",)), ANYWHERE)),
        NAMES,
    )
    assert allows(policy, update)
    assert allows(policy, Need(update.action, update.resource.replace("api", "web"), HERE))
    assert not allows(policy, Need("ecs:DeleteService", update.resource, HERE))
    assert not allows(policy, Need(update.action, update.resource.replace("api", "other"), HERE))
    assert not allows(policy, Need(update.action, update.resource, (("ecs:cluster", f"{CLUSTER}2"),)))
    assert not allows(policy, Need(update.action, update.resource))


def test_what_has_no_name_is_left_out_and_never_becomes_everything() -> None:
    policy = policy_of([Need("ecr:PutImage", "arn:aws:ecr:${Region}:${Account}:repository/${TargetRepository}")])
    assert fill(policy, NAMES)["Statement"] == []


@pytest.mark.parametrize("group", GROUPS)
def test_a_policy_is_filled_in_from_settings(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--fill", "gli", "prod", group]) == 0
    policy = json.loads(capsys.readouterr().out)
    assert placeholders(policy) == set()
    here = {"ArnEquals": {"ecs:cluster": ["arn:aws:ecs:ap-northeast-2:917891822317:cluster/production-gli-cluster"]}}
    assert here in [one.get("Condition") for one in policy["Statement"]]
    # A managed policy holds 6144 characters, white space not counted (IAM user guide, "IAM and AWS STS quotas").
    assert len("".join(json.dumps(policy).split())) < 6_144


def test_a_policy_that_cannot_be_filled_in_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--fill", "greenflow", "prod", "read"]) == 2
    assert "the settings of greenflow prod do not tell: Account" in capsys.readouterr().err
    assert main(["--fill", "gli", "prod", "all"]) == 2
    assert "name one of: read, release" in capsys.readouterr().err


# The tasks, on a twin


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    before = traces()
    with standing_twin(tmp_path_factory.mktemp("programs")) as desk:
        yield desk
    assert not wait_until_gone(before)


NEW_COMMIT = ("a new commit",)
SAMPLE = {
    "read": (
        ("release.status", *E),
        ("release.plan", *E),
        ("ecs.diff", *E),
        ("ecs.verify", *E),
        ("ecs.logs", *E),
        ("ecs.prune", *E, "--plan"),
        ("image.list", *E),
    ),
    "build-and-push": (
        NEW_COMMIT,
        ("image.build", *E),
        ("image.push", *YES),
        ("image.promote", "--from", "prod", "--to", "stg", "--yes", *API),
    ),
    "release": (("release.prod", "--yes"), NEW_COMMIT, ("release.prod", "--yes"), ("release.rollback", *YES)),
    "operate": (
        ("ecs.run", *YES, *API, "--command", "python3 -c 'print(1)'"),
        ("ecs.scale", *YES, "--service", "websocket", "--min", "2", "--max", "3"),
        ("ecs.rollback", *YES, *API),
    ),
    "prune": (
        ("ecs.prune", *YES, "--newest", "1", "--releases", "1"),
        ("image.prune", *YES, "--newest", "1", "--days", "0", "--records", "1"),
    ),
}


@pytest.mark.end_to_end
@pytest.mark.parametrize("group", SAMPLE)
def test_a_group_s_tasks_ask_for_nothing_that_its_policy_denies(desk: Desk, group: str) -> None:
    names = names_of(desk.settings(), other_settings(desk.environment))
    policy = fill(committed(group), names)
    for words in SAMPLE[group]:
        if words == NEW_COMMIT:
            desk.commit()
        else:
            desk.run(group, *words)
    calls = desk.calls(group)
    needs = {need: one for one in calls for need in needs_of(one, place_of(names))}
    assert needs
    denied = [f"{need} of {one.service} {one.operation}" for need, one in needs.items() if not allows(policy, need)]
    assert not denied, "\n".join(denied)
