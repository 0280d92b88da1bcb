"""Why a task runs and does not count as healthy."""

from __future__ import annotations

from gli_tasks.ecs.causes.kinds import EVENTS, RESOLVE, TARGETS, Cause, Fault, Sign

_BALANCER_SAYS_NO = r"(failed ELB health checks|is unhealthy in \(?target-group|associated load balancer)"

HEALTH = (
    Cause(
        "container-health",
        RESOLVE,
        "the container's own health checks fail",
        "run healthCheck's command in the image by hand (is the program it needs there?); if the start takes longer, "
        "raise startPeriod",
        text=r"failed container health checks",
    ),
    # A target that answers with a status listens where it is asked, whatever other ports the log names.
    Cause(
        "target-answers-wrong",
        TARGETS,
        "the load balancer's health checks fail: the new version answers them with {status} "
        "(Target.ResponseCodeMismatch)",
        "ask the health path of the new version by hand, and read the log below; a 404 means another path, a 503 a "
        "dependency such as the database",
        text=_BALANCER_SAYS_NO,
        target=r"these codes: \[(?P<status>[^\]]*)\]|ResponseCodeMismatch(?!.*these codes)",
    ),
    Cause(
        "balancer-error",
        TARGETS,
        "the load balancer could not make its health checks, by an error of its own (Elb.InternalError)",
        "release again; if it stays, see the AWS Health Dashboard",
        text=_BALANCER_SAYS_NO,
        target=r"Elb\.InternalError|due to an internal error",
        fault=Fault.WORLD,
    ),
    Cause(
        "port-mismatch",
        TARGETS,
        "the load balancer's health checks fail: the container listens on port {listens}, and the target group asks "
        "port {port}",
        "make the port in the settings, the task definition and the program the same",
        text=_BALANCER_SAYS_NO,
        sign=Sign.OTHER_PORT,
    ),
    Cause(
        "target-times-out",
        TARGETS,
        "the load balancer's health checks fail: nothing answers on port {port} in time (Target.Timeout)",
        "let the load balancer's security group in on that port of the tasks' security group; if it is open, the new "
        "version is too slow to answer its health path",
        text=_BALANCER_SAYS_NO,
        target=r"Target\.Timeout|request timed out",
    ),
    Cause(
        "slow-start",
        TARGETS,
        "the load balancer's health checks fail: the new version had not opened port {port} when its grace period of "
        "{grace} s was over",
        "if the log below shows that it was still starting, make it faster or raise healthCheckGracePeriodSeconds of "
        "the service; if not, let it listen on that port, on 0.0.0.0",
        text=_BALANCER_SAYS_NO,
        target=r"Target\.FailedHealthChecks|health checks failed",
        sign=Sign.STILL_STARTING,
    ),
    Cause(
        "target-refuses",
        TARGETS,
        "the load balancer's health checks fail: nothing listens on port {port} of the task "
        "(Target.FailedHealthChecks)",
        "check that the program listens on that port and on 0.0.0.0, not on 127.0.0.1 alone; if it is slow to start, "
        "raise healthCheckGracePeriodSeconds (now {grace} s)",
        text=_BALANCER_SAYS_NO,
        target=r"Target\.FailedHealthChecks|health checks failed",
    ),
    Cause(
        "target-group-unused",
        TARGETS,
        "the service's target group gets no traffic from any load balancer (Target.NotInUse)",
        "add a listener rule that forwards to the target group, and enable the tasks' Availability Zones on the load "
        "balancer",
        text=_BALANCER_SAYS_NO,
        target=r"Target\.NotInUse|does not have an associated load balancer|"
        r"not configured to receive traffic|not used by any load balancer",
    ),
    Cause(
        "target-unusable",
        TARGETS,
        "the load balancer cannot use the tasks as targets: {target_reason}",
        "check the target group's type (ip) and that tasks and load balancer are of the same VPC",
        text=_BALANCER_SAYS_NO,
        target=r"(?P<target_reason>Target\.(IpUnusable|InvalidState))",
    ),
    Cause(
        "target-unregistered",
        TARGETS,
        "the tasks are not registered in the target group (Target.NotRegistered)",
        "check that nothing else deregisters them, and that the service names this target group",
        text=_BALANCER_SAYS_NO,
        target=r"Target\.NotRegistered|not registered to the target group",
    ),
    Cause(
        "registration-failed",
        EVENTS,
        "ECS cannot register the tasks in the target group",
        "check that the target group exists, and that ECS's service-linked role may register targets",
        text=r"(failed|unable) to register targets|failed to register (the )?target",
    ),
    Cause(
        "balancer-health",
        RESOLVE,
        "the load balancer's health checks fail",
        "ask the health path of the new version by hand; see the targets' reasons in the target group",
        text=_BALANCER_SAYS_NO,
    ),
)
