"""Follow several deployments side by side: poll, capture what goes wrong, judge, bear a faltering AWS for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gli_tasks.aws import as_gli_error
from gli_tasks.ecs.diagnose import enough_to_give_up
from gli_tasks.ecs.evidence import Client, Witness
from gli_tasks.ecs.plan import Judgement, Progress, ServiceFacts, judge
from gli_tasks.ecs.services import is_passing, read_services, side_by_side
from gli_tasks.errors import AwsCallFailed

OnChange = Callable[[str, Judgement], None]
"""Told of a service's name and how its deployment stands, whenever that changes."""


class Following:
    """Deployments that are followed, by service name. Durations in seconds, by ``clock``."""

    def __init__(
        self,
        ecs: Any,
        cluster: str,
        deployments: Mapping[str, str],
        on_change: OnChange,
        clock: Callable[[], float],
        client: Client | None,
        give_up_after: int | None,
        tolerate_s: float,
    ) -> None:
        self._ecs, self._cluster, self._deployments = ecs, cluster, dict(deployments)
        self._on_change, self._clock = on_change, clock
        self._give_up_after, self._tolerate_s = give_up_after, tolerate_s
        self._witnesses = {
            name: Witness(ecs, cluster, name, deployment, client) for name, deployment in deployments.items()
        }
        self._last: dict[str, Judgement] = {}
        self._told: dict[str, Judgement] = {}
        self._unanswered_since: float | None = None

    @property
    def ended(self) -> bool:
        """Tell whether one deployment has failed, or all have ended."""
        progress = [one.progress for one in self._last.values()]
        failed = any(one in (Progress.FAILED, Progress.REPLACED) for one in progress)
        return failed or progress.count(Progress.COMPLETED) == len(self._deployments)

    def judgements(self) -> dict[str, Judgement]:
        """Return how each deployment stands, in the order in which they were named."""
        silent = {
            name: Judgement(Progress.RUNNING, "AWS has not told yet how it stands", deployment)
            for name, deployment in self._deployments.items()
        }
        return {name: self._last.get(name, silent[name]) for name in self._deployments}

    def explained(self) -> dict[str, Judgement]:
        """Return how each deployment stands; of those that still run, with why, as far as that can be seen."""

        def explain(name: str, judgement: Judgement) -> Judgement:
            if judgement.progress is not Progress.RUNNING:
                return judgement
            witness = self._witnesses[name]
            witness.look()
            return replace(judgement, diagnosis=witness.explain(judgement.sentence))

        every = self.judgements()
        return dict(zip(every, side_by_side(lambda name: explain(name, every[name]), every), strict=True))

    def poll(self) -> None:
        """Ask once how those that still run stand. Raises AwsCallFailed where AWS has not answered for too long."""
        names = [name for name in self._deployments if not self._has_ended(name)]
        try:
            services = read_services(self._ecs, self._cluster, names)
        except Exception as error:
            if not is_passing(error):
                raise
            self._bear(names, error)
            return
        self._unanswered_since = None
        self._capture(services)
        for name, facts in services.items():
            self._last[name] = self._judge(name, facts)
            self._tell(name, self._last[name])

    def _has_ended(self, name: str) -> bool:
        return name in self._last and self._last[name].progress is not Progress.RUNNING

    def _capture(self, services: Mapping[str, ServiceFacts]) -> None:
        now = self._clock()
        troubled = [name for name, facts in services.items() if self._witnesses[name].note(facts, now)]
        side_by_side(lambda name: self._witnesses[name].look(), troubled)
        # One look a poll at targets that take their time: what a healthy rollout costs must not grow with it.
        late = next((one for one in map(self._witnesses.get, services) if one and one.waits_for_targets(now)), None)
        if late is not None:
            late.look_at_targets(now)

    def _judge(self, name: str, facts: ServiceFacts) -> Judgement:
        witness, deployment = self._witnesses[name], self._deployments[name]
        judgement = judge(facts, deployment)
        mine = facts.deployment(deployment)
        if judgement.progress in (Progress.FAILED, Progress.REPLACED) and (
            mine is None or mine.rollout_state != "FAILED"
        ):
            # It is gone, or another took its place: AWS's own account says why; the texts only as far as they go.
            judgement = judge(facts, deployment, witness.attempt())
        if judgement.progress in (Progress.FAILED, Progress.REPLACED):
            return replace(judgement, diagnosis=witness.explain(judgement.sentence))
        if judgement.progress is Progress.RUNNING:
            times = enough_to_give_up(facts.desired) if self._give_up_after is None else self._give_up_after
            diagnosis = witness.repeated(times)
            if diagnosis is not None:
                return Judgement(Progress.FAILED, diagnosis.cause, deployment, diagnosis)
        return judgement

    def _bear(self, names: list[str], error: Exception) -> None:
        known = as_gli_error(error)
        what = known.what if known is not None else str(error)
        now = self._clock()
        since = self._unanswered_since = now if self._unanswered_since is None else self._unanswered_since
        if now - since >= self._tolerate_s:
            raise AwsCallFailed(
                f"AWS has not told for {now - since:.0f} s how the rollout stands: {what}",
                remedy=(known.remedy if known is not None else "") or "see `invoke ecs.status`",
            ) from error
        sentence = f"AWS does not answer ({what}); asked again for up to {self._tolerate_s:g} s"
        for name in names:
            self._tell(name, Judgement(Progress.RUNNING, sentence, self._deployments[name]))

    def _tell(self, name: str, judgement: Judgement) -> None:
        if self._told.get(name) != judgement:
            self._told[name] = judgement
            self._on_change(name, judgement)
