"""Clusters and tags."""

from __future__ import annotations

from gli_tasks.rehearsal.ecs import inputs, lookup, views
from gli_tasks.rehearsal.ecs.api_base import ApiPart, Wire, missing
from gli_tasks.rehearsal.ecs.model import Cluster
from gli_tasks.rehearsal.wire.errors import AwsError
from gli_tasks.rehearsal.wire.service import RequestContext


class ClustersApi(ApiPart):
    """Operations on clusters."""

    def create_cluster(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Create a cluster, or return the one of that name."""
        name = params.get("clusterName", "default")
        with self.plane.lock:
            cluster = self.store.clusters.get(name)
            if cluster is None or cluster.status != "ACTIVE":
                arn = self.store.arn(f"cluster/{name}")
                cluster = Cluster(name, arn, settings={"containerInsights": "disabled"})
                self.store.clusters[name] = cluster
                self.store.tags[arn] = inputs.tags(params.get("tags"))
            cluster.settings |= {item["name"]: item["value"] for item in params.get("settings", [])}
            cluster.capacity_providers = tuple(params.get("capacityProviders", cluster.capacity_providers))
            return {"cluster": views.cluster(self.store, cluster)}

    def describe_clusters(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Describe clusters; those that are not there are failures."""
        with self.plane.lock:
            found, failures = [], []
            for name in params.get("clusters") or ["default"]:
                cluster = self.store.clusters.get(lookup.short_name(name))
                if cluster is None:
                    failures.append(missing(self.store.arn(f"cluster/{lookup.short_name(name)}")))
                else:
                    found.append(views.cluster(self.store, cluster))
            return {"clusters": found, "failures": failures}

    def list_clusters(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """List clusters."""
        with self.plane.lock:
            arns = [cluster.arn for cluster in self.store.clusters.values() if cluster.status == "ACTIVE"]
        found, token = lookup.page(arns, params.get("maxResults"), params.get("nextToken"))
        return {"clusterArns": found, "nextToken": token}

    def delete_cluster(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Delete a cluster that is empty."""
        with self.plane.lock:
            cluster = lookup.find_cluster(self.store, params["cluster"])
            if any(item.cluster is cluster and item.status != "INACTIVE" for item in self.store.services.values()):
                message = "The Cluster cannot be deleted while Services are active."
                raise AwsError("ClusterContainsServicesException", message)
            if any(task.cluster is cluster and task.stopped_at is None for task in self.store.tasks.values()):
                message = "The Cluster cannot be deleted while Tasks are active."
                raise AwsError("ClusterContainsTasksException", message)
            cluster.status = "INACTIVE"
            return {"cluster": views.cluster(self.store, cluster)}

    def tag_resource(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Add tags."""
        with self.plane.lock:
            arn = self._known(params["resourceArn"])
            self.store.tags[arn] = self.store.tags.get(arn, {}) | inputs.tags(params["tags"])
        return {}

    def untag_resource(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """Remove tags."""
        with self.plane.lock:
            arn = self._known(params["resourceArn"])
            for key in params["tagKeys"]:
                self.store.tags.get(arn, {}).pop(key, None)
        return {}

    def list_tags_for_resource(self, request: RequestContext, params: Wire) -> Wire:  # noqa: ARG002
        """List tags."""
        with self.plane.lock:
            return {"tags": views.tag_list(self.store.tags.get(self._known(params["resourceArn"]), {}))}

    def _known(self, arn: str) -> str:
        kind, _, rest = arn.rpartition(":ecs:")[2].partition("/")
        kind = kind.rpartition(":")[2]
        found = {
            "cluster": lambda: rest in self.store.clusters,
            "service": lambda: arn in self.store.services,
            "task": lambda: lookup.short_name(rest) in self.store.tasks,
            "task-definition": lambda: lookup.find_definition(self.store, rest) is not None,
        }.get(kind)
        if found is None or not found():
            raise AwsError("InvalidParameterException", f"The specified resource {arn} is not found.")
        return arn
