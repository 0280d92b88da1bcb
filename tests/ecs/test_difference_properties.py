"""The difference of any two task definitions: every place once, and a secret nowhere, wherever its key stands."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gli_tasks.ecs.difference import NONE, differences
from tests.ecs.test_difference import definitions
from tests.floor_parts import steady

brief = settings(steady, max_examples=50)

NAMES = st.sampled_from(["DB_PASSWORD", "db_password", "API_TOKEN", "JWT_SECRET", "PRIVATE_NOTE", "CREDENTIALS"])
SECRETS = st.text("abXY01+=\"'\\ \n", min_size=6, max_size=16).map(lambda one: f"Q{one}Q")


def put(tree: dict[str, Any], place: str, key: str, value: str) -> dict[str, Any]:
    """Return the definition with a key of this value at one of the places where keys are a user's own."""
    copied: dict[str, Any] = json.loads(json.dumps(tree))
    container = copied["containerDefinitions"][-1]
    if place == "environment":
        container.setdefault("environment", []).append({"name": key, "value": value})
    elif place == "labels":
        container.setdefault("dockerLabels", {})[key] = value
    elif place == "log options":
        container["logConfiguration"] = {"logDriver": "splunk", "options": {key: value}}
    elif place == "volumes":
        options = {"driver": "nfs", "driverOpts": {key: value}}
        copied["volumes"] = [{"name": "data", "dockerVolumeConfiguration": options}]
    else:
        container["command"] = ["run", f"--{key.lower().replace('_', '-')}", value]
    return copied


@brief
@given(
    definitions(),
    st.sampled_from(["environment", "labels", "log options", "volumes", "command"]),
    NAMES,
    SECRETS,
    SECRETS,
)
def test_no_secret_is_shown_wherever_its_key_stands_and_on_whichever_side(
    one: dict[str, Any], place: str, key: str, old: str, new: str
) -> None:
    before, after = put(one, place, key, old), put(one, place, key, new)
    for pair in ((one, after), (before, one), (before, after), (None, after)):
        shown = "".join(map(str, differences(*pair)))
        for secret in (old, new):
            assert secret not in shown
            assert json.dumps(secret)[1:-1] not in shown
    # That it changed is seen all the same.
    assert bool(differences(before, after)) == (old != new)


@brief
@given(definitions(), definitions())
def test_every_place_is_named_once_and_says_what_is_not_there(one: dict[str, Any], other: dict[str, Any]) -> None:
    changes = differences(one, other)
    assert len({change.path for change in changes}) == len(changes)
    assert all((change.before, change.after) != (NONE, NONE) for change in changes)
    assert {change.path for change in differences(None, other)} >= {
        change.path for change in changes if change.before == NONE
    }
