"""Task definitions."""

from __future__ import annotations

from typing import Any

from gli_tasks.rehearsal.ecs import inputs, lookup, registration, views
from gli_tasks.rehearsal.ecs.api_base import ApiPart, Wire, missing
from gli_tasks.rehearsal.ecs.definitions import read_task_definition
from gli_tasks.rehearsal.ecs.model import RegisteredDefinition
from gli_tasks.rehearsal.wire.errors import AwsError
from gli_tasks.rehearsal.wire.service import RequestContext

_UNDESCRIBABLE = "Unable to describe task definition."


class TaskDefinitionsApi(ApiPart):
    """Operations on task definitions."""

    def register_task_definition(self, request: RequestContext, params: Wire) -> Wire:
        """Register the next revision of a family."""
        wire, tags = registration.complete(params), inputs.tags(params.get("tags"))
        with self.plane.lock:
            revisions = self.store.definitions.setdefault(wire["family"], [])
            number = len(revisions) + 1
            arn = self.store.arn(f"task-definition/{wire['family']}:{number}")
            wire |= {
                "taskDefinitionArn": arn,
                "revision": number,
                "status": "ACTIVE",
                "registeredAt": self.plane.now(),
                "registeredBy": f"arn:aws:iam::{self.store.account}:user/{request.access_key}",
            }
            revisions.append(RegisteredDefinition(read_task_definition(wire), wire))
            self.store.tags[arn] = tags
        return {"taskDefinition": wire, "tags": views.tag_list(tags)}

    def describe_task_definition(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Describe a task definition by ARN, family:revision or family."""
        with self.plane.lock:
            found = self._definition(params["taskDefinition"])
            answer: Wire = {"taskDefinition": dict(found.wire)}
            if "TAGS" in params.get("include", []):
                answer["tags"] = views.tag_list(self.store.tags.get(found.facts.arn, {}))
            return answer

    def deregister_task_definition(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Make a revision INACTIVE; what runs it runs on."""
        name = params["taskDefinition"]
        if ":" not in lookup.short_name(name):
            raise AwsError("ClientException", f"Invalid revision number. Number: {name}")
        with self.plane.lock:
            found = self._definition(name)
            if found.status == "ACTIVE":
                found.status = found.wire["status"] = "INACTIVE"
                found.wire["deregisteredAt"] = self.plane.now()
            return {"taskDefinition": dict(found.wire)}

    def delete_task_definitions(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Mark INACTIVE revisions for deletion."""
        names = params["taskDefinitions"]
        if len(names) > 10:
            raise AwsError("InvalidParameterException", "At most 10 task definitions can be deleted in one request.")
        deleted: list[Wire] = []
        failures: list[Wire] = []
        with self.plane.lock:
            for name in names:
                found = lookup.find_definition(self.store, name)
                if found is None:
                    failures.append(missing(name, "The specified task definition does not exist."))
                elif found.status == "ACTIVE":
                    reason = (
                        "The specified task definition is still in ACTIVE status. Please deregister the target and "
                        "try again."
                    )
                    failures.append(missing(found.facts.arn, reason))
                else:
                    found.status = found.wire["status"] = "DELETE_IN_PROGRESS"
                    found.wire.setdefault("deleteRequestedAt", self.plane.now())
                    deleted.append(dict(found.wire))
        return {"taskDefinitions": deleted, "failures": failures}

    def list_task_definitions(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """List revisions, by family and number."""
        status, family = params.get("status", "ACTIVE"), params.get("familyPrefix")
        with self.plane.lock:
            chosen = [
                item.facts
                for name in sorted(self.store.definitions)
                if family in (None, name)
                for item in self.store.definitions[name]
                if item.status == status
            ]
        ordered = [facts.arn for facts in chosen]
        if params.get("sort") == "DESC":
            ordered.reverse()
        found, token = lookup.page(ordered, params.get("maxResults"), params.get("nextToken"))
        return {"taskDefinitionArns": found, "nextToken": token}

    def list_task_definition_families(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """List families."""
        status, prefix = params.get("status", "ACTIVE"), params.get("familyPrefix", "")
        with self.plane.lock:
            families = [
                name
                for name, revisions in sorted(self.store.definitions.items())
                if name.startswith(prefix) and _family_is(status, revisions)
            ]
        found, token = lookup.page(families, params.get("maxResults"), params.get("nextToken"))
        return {"families": found, "nextToken": token}

    def _definition(self, name: str) -> RegisteredDefinition:
        found = lookup.find_definition(self.store, name)
        if found is None:
            raise AwsError("ClientException", _UNDESCRIBABLE)
        return found


def _family_is(status: str, revisions: list[Any]) -> bool:
    active = any(item.status == "ACTIVE" for item in revisions)
    return status == "ALL" or active == (status == "ACTIVE")
