"""Gives objects that moto made the very ids that a project's settings name.

moto invents ids and has no call that sets them; these functions change moto's objects where they live, in process.
Each wants the object to have been created just before: ids that others have copied since are not chased.
"""

from __future__ import annotations

from typing import Any

from moto.acm.models import acm_backends
from moto.cloudfront.models import cloudfront_backends
from moto.elbv2.models import elbv2_backends
from moto.route53.models import route53_backends
from moto.secretsmanager.models import secretsmanager_backends


class CannotRestamp(Exception):
    """The object does not exist, the id is malformed or taken, or other objects already refer to the old id."""


def restamp_secret(account: str, region: str, name: str, arn: str) -> None:
    """Give a secret its full ARN, six-character suffix included. Raises CannotRestamp."""
    _check_arn(arn, f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-")
    secret = secretsmanager_backends[account][region].secrets.get(name)
    if secret is None:
        raise CannotRestamp(f"there is no secret {name}")
    secret.arn = arn


def restamp_distribution(account: str, distribution_id: str, wanted_id: str, domain_name: str | None = None) -> None:
    """Give a CloudFront distribution its id and, where told, its ``….cloudfront.net`` name. Raises CannotRestamp."""
    backend = cloudfront_backends[account]["aws"]
    distribution = _take(backend.distributions, distribution_id, wanted_id)
    old_arn = distribution.arn
    distribution.id = distribution.distribution_id = wanted_id
    distribution.arn = f"{old_arn.rsplit('/', 1)[0]}/{wanted_id}"
    if domain_name is not None:
        distribution.domain_name = domain_name
    if distribution_id in backend.invalidations and wanted_id != distribution_id:
        backend.invalidations[wanted_id] = backend.invalidations.pop(distribution_id)
    _move_tags(backend.tagger, old_arn, distribution.arn)


def restamp_certificate(account: str, region: str, old_arn: str, arn: str) -> None:
    """Give an ACM certificate its ARN. Raises CannotRestamp."""
    _check_arn(arn, f"arn:aws:acm:{region}:{account}:certificate/")
    # moto keeps certificates in a dictionary that is not public, and has no other way to them.
    certificate = _take(acm_backends[account][region]._certificates, old_arn, arn)
    certificate.arn = arn


def restamp_load_balancer(
    account: str,
    region: str,
    old_arn: str,
    arn: str,
    *,
    dns_name: str | None = None,
    hosted_zone_id: str | None = None,
) -> None:
    """Give a load balancer its ARN, DNS name and canonical zone, before it has listeners. Raises CannotRestamp."""
    _check_arn(arn, f"arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/")
    backend = elbv2_backends[account][region]
    known = backend.load_balancers.get(old_arn)
    if known is not None and known.listeners:
        raise CannotRestamp(f"{old_arn} has listeners already, whose ARNs derive from it")
    balancer = _take(backend.load_balancers, old_arn, arn)
    balancer.arn = arn
    if dns_name is not None:
        balancer.dns_name = dns_name
    if hosted_zone_id is not None:
        balancer.canonical_hosted_zone_id = hosted_zone_id
    _move_tags(backend.tagging_service, old_arn, arn)


def restamp_target_group(account: str, region: str, old_arn: str, arn: str) -> None:
    """Give a target group its ARN, before a listener or rule names it. Raises CannotRestamp."""
    _check_arn(arn, f"arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/")
    backend = elbv2_backends[account][region]
    known = backend.target_groups.get(old_arn)
    if known is not None and known.load_balancer_arns:
        raise CannotRestamp(f"{old_arn} is in use already")
    group = _take(backend.target_groups, old_arn, arn)
    group.arn = arn
    _move_tags(backend.tagging_service, old_arn, arn)


def restamp_listener(account: str, region: str, old_arn: str, arn: str) -> None:
    """Give a listener its ARN, before it has rules beside the default one. Raises CannotRestamp."""
    backend = elbv2_backends[account][region]
    for balancer in backend.load_balancers.values():
        if old_arn in balancer.listeners:
            _check_arn(arn, balancer.arn.replace(":loadbalancer/", ":listener/") + "/")
            if len(balancer.listeners[old_arn].rules) > 1:
                raise CannotRestamp(f"{old_arn} has rules already, whose ARNs derive from it")
            listener = _take(balancer.listeners, old_arn, arn)
            listener.arn = arn
            for rule in listener.rules.values():
                rule.listener_arn = arn
                rule.arn = f"{arn.replace(':listener/', ':listener-rule/')}/{rule.arn.rsplit('/', 1)[-1]}"
            _move_tags(backend.tagging_service, old_arn, arn)
            return
    raise CannotRestamp(f"there is no {old_arn}")


def restamp_rule(account: str, region: str, old_arn: str, arn: str) -> None:
    """Give a listener rule (not the default one) its ARN. Raises CannotRestamp."""
    backend = elbv2_backends[account][region]
    for balancer in backend.load_balancers.values():
        for listener in balancer.listeners.values():
            if old_arn in listener.rules and arn not in listener.rules:
                _check_arn(arn, listener.arn.replace(":listener/", ":listener-rule/") + "/")
                rule = listener.rules[old_arn]
                listener.remove_rule(old_arn)
                rule.arn = arn
                listener.register(arn, rule)
                _move_tags(backend.tagging_service, old_arn, arn)
                return
    raise CannotRestamp(f"there is no {old_arn}, or {arn} is taken")


def restamp_hosted_zone(account: str, zone_id: str, wanted_id: str) -> None:
    """Give a Route 53 hosted zone its id; both without ``/hostedzone/``. Raises CannotRestamp."""
    backend = route53_backends[account]["aws"]
    zone = _take(backend.zones, zone_id, wanted_id)
    zone.resource_id = wanted_id
    if zone_id != wanted_id and zone_id in backend.resource_tags:
        backend.resource_tags[wanted_id] = backend.resource_tags.pop(zone_id)


def _check_arn(arn: str, beginning: str) -> None:
    if not arn.startswith(beginning) or arn == beginning:
        raise CannotRestamp(f"{arn} does not begin with {beginning}")


def _take(objects: dict[str, Any], old_key: str, key: str) -> Any:
    """Move one entry of a dictionary to another key and return it."""
    if old_key not in objects:
        raise CannotRestamp(f"there is no {old_key}")
    if key != old_key and key in objects:
        raise CannotRestamp(f"{key} is taken")
    found = objects.pop(old_key)
    objects[key] = found
    return found


def _move_tags(tagger: Any, old_arn: str, arn: str) -> None:
    if old_arn != arn and tagger.has_tags(old_arn):
        tagger.copy_tags(old_arn, arn)
        tagger.delete_all_tags_for_resource(old_arn)
