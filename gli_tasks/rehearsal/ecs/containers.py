"""The blocking half of a task's life: what is done on worker threads, with no lock held."""

from __future__ import annotations

import dataclasses

from gli_tasks.rehearsal.ecs import secrets, wording
from gli_tasks.rehearsal.ecs.definitions import ContainerDefinition
from gli_tasks.rehearsal.ecs.logs import LogShipper
from gli_tasks.rehearsal.ecs.model import Task, TaskContainer
from gli_tasks.rehearsal.ecs.ports import LogGroupMissing, RegistryLookup, SecretResolver
from gli_tasks.rehearsal.runtime.contract import ContainerSpec, HealthCheck, RunningContainer, Runtime


class StartRefused(Exception):
    """A task cannot start; the text is its stop reason."""


def pinned(image: str, digest: str | None) -> str:
    """Return the image by digest, so that every task of a deployment runs what its first task ran."""
    if digest is None or "@" in image:
        return image
    repository, slash, name = image.rpartition("/")
    return f"{repository}{slash}{name.partition(':')[0]}@{digest}"


class ContainerWorker:
    """Prepares, starts and stops the containers of tasks."""

    def __init__(
        self,
        runtime: Runtime,
        registry_lookup: RegistryLookup,
        resolver: SecretResolver,
        shipper: LogShipper,
        time_scale: float,
    ) -> None:
        self._runtime, self._registry_lookup, self._resolver = runtime, registry_lookup, resolver
        self._shipper, self._time_scale = shipper, time_scale

    def prepare(self, task: Task) -> None:
        """Resolve secrets, open log streams, settle what tags mean. Raises StartRefused."""
        try:
            for container in task.containers:
                definition = container.definition
                task.secrets[definition.name] = {
                    name: secrets.resolve(value_from, self._resolver) for name, value_from in definition.secrets
                }
        except secrets.SecretError as error:
            raise StartRefused(str(error)) from error
        for container in task.containers:
            self._open_log(task, container)
            self._settle_digest(task, container.definition)

    def start(self, task: Task, container: TaskContainer) -> RunningContainer:
        """Start one container. Raises what the runtime raises."""
        definition = container.definition
        override = task.overrides.get(definition.name)
        environment = dict(definition.environment) | (dict(override.environment) if override else {})
        digest = (
            task.revision.digests.get(definition.name) if task.revision and definition.version_consistency else None
        )
        spec = ContainerSpec(
            task_id=task.id,
            name=definition.name,
            image=pinned(definition.image, digest),
            entry_point=definition.entry_point,
            command=override.command if override and override.command is not None else definition.command,
            environment=environment | task.secrets.get(definition.name, {}),
            working_directory=definition.working_directory,
            user=definition.user,
            address=task.address,
            ports=definition.ports,
            health_check=self._scaled(definition.health_check),
            memory_bytes=definition.memory_bytes,
            stop_timeout_s=definition.stop_timeout_s,
        )
        log = container.log
        return self._runtime.start(spec, log.write if log is not None else _discard)

    def stop(self, task: Task) -> None:
        """Stop what runs, in the reverse of the order in which it was started."""
        for container in sorted(task.containers, key=lambda item: item.started_order, reverse=True):
            running = container.running
            if running is not None and running.exited() is None:
                running.stop(container.definition.stop_timeout_s)
        self.flush(task)

    def flush(self, task: Task) -> None:
        """Deliver the task's output so far."""
        for container in task.containers:
            if container.log is not None:
                self._shipper.flush(container.log)

    def close_logs(self, task: Task) -> None:
        """Deliver the rest of the task's output and let its streams go."""
        for container in task.containers:
            if container.log is not None:
                self._shipper.close(container.log)

    def _open_log(self, task: Task, container: TaskContainer) -> None:
        options = container.definition.logs
        if options is None:
            return
        name = f"{options.prefix}/{container.definition.name}/{task.id}" if options.prefix else task.id
        try:
            container.log = self._shipper.open(options.group, name, options.create_group)
        except LogGroupMissing as error:
            raise StartRefused(wording.log_group_missing(options.group, name)) from error

    def _settle_digest(self, task: Task, definition: ContainerDefinition) -> None:
        revision = task.revision
        if revision is None or definition.name in revision.digests or not definition.version_consistency:
            return
        _, at, digest = definition.image.partition("@")
        found = digest if at else self._registry_lookup(definition.image)
        if found is not None:
            revision.digests.setdefault(definition.name, found)

    def _scaled(self, check: HealthCheck | None) -> HealthCheck | None:
        if check is None:
            return None
        return dataclasses.replace(
            check,
            interval_s=check.interval_s * self._time_scale,
            # A probe is a real program: its time to start does not shrink with the twin's.
            timeout_s=check.timeout_s,
            start_period_s=check.start_period_s * self._time_scale,
        )


def _discard(line: str) -> None:
    """Take output that the task definition sends nowhere."""
