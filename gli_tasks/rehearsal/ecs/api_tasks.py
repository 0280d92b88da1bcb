"""Tasks."""

from __future__ import annotations

from gli_tasks.rehearsal.ecs import inputs, lookup, views, wording
from gli_tasks.rehearsal.ecs.api_base import ApiPart, Wire, missing
from gli_tasks.rehearsal.ecs.identifiers import new_id
from gli_tasks.rehearsal.ecs.lifecycle import request_stop
from gli_tasks.rehearsal.ecs.model import RegisteredDefinition, StopCode, Task, TaskContainer
from gli_tasks.rehearsal.ecs.placement import LATEST_PLATFORM, TaskRequest
from gli_tasks.rehearsal.ecs.registration import check_fargate_size
from gli_tasks.rehearsal.wire.errors import AwsError
from gli_tasks.rehearsal.wire.service import RequestContext

_RUN_AT_ONCE, _DESCRIBED_AT_ONCE = 10, 100
_LONGEST_STARTED_BY = 128


class TasksApi(ApiPart):
    """Operations on tasks."""

    def run_task(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Start one-off tasks."""
        count = params.get("count", 1)
        if not 1 <= count <= _RUN_AT_ONCE:
            raise inputs.invalid(f"Count must be between 1 and {_RUN_AT_ONCE}.")
        if len(params.get("startedBy", "")) > _LONGEST_STARTED_BY:
            raise inputs.invalid(f"startedBy must not be longer than {_LONGEST_STARTED_BY} characters.")
        with self.plane.lock:
            repeated = self._repeated(params)
            if repeated is not None:
                return {"tasks": repeated, "failures": []}
            definition = lookup.usable_definition(self.store, params["taskDefinition"])
            asked = self._request(params, definition)
            tasks: list[Wire] = []
            failures: list[Wire] = []
            for _ in range(count):
                if self.plane.has_capacity():
                    task = self.plane.placement.place(asked, self.plane.now())
                    tasks.append(views.task(self.store, task, with_tags=True))
                else:
                    fargate = asked.launch_type == "FARGATE"
                    reason = wording.NO_CAPACITY_FARGATE if fargate else "RESOURCE:CPU"
                    failures.append({"reason": reason})
            if "clientToken" in params and not failures:
                self.store.run_tokens[params["clientToken"]] = (params, tuple(task["taskArn"] for task in tasks))
            self.plane.poke()
            return {"tasks": tasks, "failures": failures}

    def stop_task(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Stop a task."""
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            task = self.store.tasks.get(lookup.short_name(params["task"]))
            if task is None or task.cluster is not cluster:
                raise inputs.invalid("The referenced task was not found.")
            request_stop(task, StopCode.USER, params.get("reason", wording.STOPPED_BY_USER), self.plane.now())
            self.plane.poke()
            return {"task": views.task(self.store, task, with_tags=True)}

    def describe_tasks(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Describe up to 100 tasks; those that are not there are failures."""
        names = params["tasks"]
        if not names:
            raise inputs.invalid("Tasks cannot be empty.")
        if len(names) > _DESCRIBED_AT_ONCE:
            raise inputs.invalid(f"Cannot describe more than {_DESCRIBED_AT_ONCE} tasks at a time.")
        with_tags = "TAGS" in params.get("include", [])
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            found, failures = [], []
            for name in names:
                task = self.store.tasks.get(lookup.short_name(name))
                if task is None or task.cluster is not cluster:
                    failures.append(missing(self.store.arn(f"task/{cluster.name}/{lookup.short_name(name)}")))
                else:
                    found.append(views.task(self.store, task, with_tags=with_tags))
            return {"tasks": found, "failures": failures}

    def list_tasks(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """List tasks, by default those that are meant to run."""
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            service_arn = None
            if "serviceName" in params:
                service = lookup.find_service(self.store, cluster, params["serviceName"])
                if service is None:
                    raise AwsError("ServiceNotFoundException", "Service not found.")
                service_arn = service.arn
            arns = [
                task.arn
                for task in self.store.tasks.values()
                if task.cluster is cluster and service_arn in (None, task.service_arn) and _fits(task, params)
            ]
        found, token = lookup.page(arns, params.get("maxResults"), params.get("nextToken"))
        return {"taskArns": found, "nextToken": token}

    def execute_command(self, request: RequestContext, params: Wire) -> Wire:
        """Open a session in a running container. The session's own protocol, on the answer's stream, is not done here.

        https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html
        """
        if not params["interactive"]:
            raise inputs.invalid("Interactive is the only mode supported currently.")
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params.get("cluster"))
            task = self.store.tasks.get(lookup.short_name(params["task"]))
            if task is None or task.cluster is not cluster:
                raise inputs.invalid("The task provided in the request was not found.")
            container = _container_of(task, params.get("container"))
            if not task.execute_command or not views.agent_runs(container):
                raise inputs.invalid(wording.EXECUTE_COMMAND_NOT_ENABLED)
            session = f"ecs-execute-command-{new_id()[:17]}"
            place = f"wss://ssmmessages.{request.region}.amazonaws.com/v1/data-channel/{session}"
            return {
                "clusterArn": cluster.arn,
                "taskArn": task.arn,
                "containerArn": container.arn,
                "containerName": container.definition.name,
                "interactive": True,
                "session": {
                    "sessionId": session,
                    "streamUrl": f"{place}?role=publish_subscribe",
                    "tokenValue": f"AAEAA{new_id()}{new_id()}",
                },
            }

    def _repeated(self, params: Wire) -> list[Wire] | None:
        """Return the tasks of an equal request with the same client token, so that a retry starts nothing twice."""
        earlier = self.store.run_tokens.get(params.get("clientToken", ""))
        if earlier is None:
            return None
        asked, arns = earlier
        if asked != params:
            raise AwsError("ConflictException", "The client token was used before with other parameters.")
        tasks = [self.store.tasks[lookup.short_name(arn)] for arn in arns if lookup.short_name(arn) in self.store.tasks]
        return [views.task(self.store, task, with_tags=True) for task in tasks] or None

    def _request(self, params: Wire, definition: RegisteredDefinition) -> TaskRequest:
        cluster = lookup.find_cluster(self.store, params.get("cluster"))
        network = inputs.network(params.get("networkConfiguration"))
        inputs.need_network(definition.wire, network)
        launch_type = params.get("launchType", "FARGATE" if params.get("capacityProviderStrategy") else "EC2")
        if launch_type == "FARGATE" and "FARGATE" not in definition.wire["compatibilities"]:
            raise inputs.invalid("Task definition does not support launch_type FARGATE.")
        wire = params.get("overrides", {})
        if launch_type == "FARGATE" and ("cpu" in wire or "memory" in wire):
            check_fargate_size(
                wire.get("cpu", definition.wire.get("cpu", "")), wire.get("memory", definition.wire.get("memory", ""))
            )
        tags = inputs.tags(params.get("tags"))
        if params.get("propagateTags") == "TASK_DEFINITION":
            tags = self.store.tags.get(definition.facts.arn, {}) | tags
        if params.get("enableECSManagedTags"):
            tags["aws:ecs:clusterName"] = cluster.name
        platform = params.get("platformVersion")
        return TaskRequest(
            cluster=cluster,
            definition=definition.facts,
            group=params.get("group", f"family:{definition.facts.family}"),
            started_by=params.get("startedBy"),
            launch_type=launch_type,
            platform_version=(LATEST_PLATFORM if platform in (None, "LATEST") else platform)
            if launch_type == "FARGATE"
            else None,
            network=network,
            overrides=inputs.overrides(wire, definition.facts),
            overrides_wire=wire,
            cpu=wire.get("cpu"),
            memory=wire.get("memory"),
            execute_command=params.get("enableExecuteCommand", False),
            tags=tags,
        )


def _container_of(task: Task, name: str | None) -> TaskContainer:
    if name is None and len(task.containers) > 1:
        raise inputs.invalid("A container name is required for a task with several containers.")
    found = next((one for one in task.containers if name in (None, one.definition.name)), None)
    if found is None:
        raise inputs.invalid("The container provided in the request was not found.")
    return found


def _fits(task: Task, params: Wire) -> bool:
    # ECS: PENDING never matches, for a task is meant to be either RUNNING or STOPPED.
    if task.desired.value != params.get("desiredStatus", "RUNNING"):
        return False
    family, started_by = params.get("family"), params.get("startedBy")
    launch_type = params.get("launchType")
    return (
        family in (None, task.definition.family)
        and started_by in (None, task.started_by)
        and launch_type in (None, task.launch_type)
    )
