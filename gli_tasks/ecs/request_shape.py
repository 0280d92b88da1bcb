"""Tell what of a task definition cannot even be sent: by the shapes that AWS publishes with its SDK, offline."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from gli_tasks.ecs.findings import Finding, ng
from gli_tasks.ecs.references import Wanted

_WHY = {
    "missing required field": "lacks {field}, which RegisterTaskDefinition requires",
    "unknown field": "has {field}, which RegisterTaskDefinition does not know",
    "invalid type": "has a value of a type that RegisterTaskDefinition does not take",
}


def shape_findings(wanted: Wanted) -> tuple[Finding, ...]:
    """Return an NG finding for each place of the definition that RegisterTaskDefinition's input has no room for.

    Places are named, values never are.
    """
    found = []
    for reason, place, field in _faults(wanted.definition):
        what = _WHY.get(reason, "has a value that RegisterTaskDefinition does not take").format(field=field)
        subject = f"{wanted.name} task definition"
        found.append(ng(subject, f"{place or 'the top level'} {what}", "mend the definition's file"))
    return tuple(found)


def _faults(definition: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return reason, place and field of each fault; the validator's own text would quote values."""
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(dict(definition), _input_shape())
    return [
        (str(reason), str(place).removeprefix("."), str(more.get("required_name") or more.get("unknown_param") or ""))
        for reason, place, more in report._errors
    ]


@functools.cache
def _input_shape() -> Any:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    model = ServiceModel(Loader().load_service_model("ecs", "service-2"), "ecs")
    return model.operation_model("RegisterTaskDefinition").input_shape
