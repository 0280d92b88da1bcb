"""What AWS, the account or a person did to tasks; and what is left to say where nothing more is known."""

from __future__ import annotations

from gli_tasks.ecs.causes.kinds import BREAKER, EVENTS, MAINTENANCE, RESOLVE, STOPPED, Cause, Fault

SURROUNDINGS = (
    Cause(
        "subnet-full",
        STOPPED,
        "the task's subnets have no free IP address left",
        "free addresses, or give the service larger subnets",
        text=r"InsufficientFreeAddresses|not enough free (IP )?addresses|insufficient free addresses",
        fault=Fault.WORLD,
    ),
    Cause(
        "no-interface",
        STOPPED,
        "no network interface could be had for the task",
        "release again; if it stays, check the network interfaces' quota and the security groups of the service",
        text=r"network interface provisioning|RESOURCE:ENI|failed to create.*network interface|ENI attach",
        fault=Fault.WORLD,
    ),
    Cause(
        "no-storage",
        STOPPED,
        "the task's ephemeral storage could not be had in time",
        "release again; if it stays, see the AWS Health Dashboard",
        text=r"EphemeralStorage provisioning",
        fault=Fault.WORLD,
    ),
    Cause(
        "no-capacity",
        EVENTS,
        "AWS has no Fargate capacity for the task now",
        "wait and release again, or give the service subnets in more Availability Zones",
        text=r"capacity is unavailable|RESOURCE:FARGATE|capacity is not available",
        fault=Fault.WORLD,
    ),
    Cause(
        "quota",
        EVENTS,
        "the account's quota is reached: {quota}",
        "stop what is not needed, or ask for more in Service Quotas (AWS Fargate)",
        text=r"(?P<quota>reached the limit on the number of [^.]*?concurrently|"
        r"requested (CPU|MEMORY) configuration is above your limit)",
        fault=Fault.WORLD,
    ),
    Cause(
        "no-instance",
        EVENTS,
        "no container instance of the cluster has room for the task, or what it needs",
        "add container instances, or ask for less CPU, memory or ports in the task definition",
        text=r"no container instance met all of its requirements|RESOURCE:(CPU|MEMORY|PORTS)",
        fault=Fault.WORLD,
    ),
    Cause(
        "zone-unsupported",
        EVENTS,
        "Fargate does not support the Availability Zone of a subnet of the service",
        "give the service subnets in zones that Fargate supports",
        text=r"unable to place a task\. Reason: Internal error",
        fault=Fault.WORLD,
    ),
    Cause(
        "throttled",
        EVENTS,
        "ECS itself is throttled by AWS, and starts no more tasks for now",
        "wait and release again; see what else in the account calls the same APIs",
        text=r"operations are being throttled|Unexpected EC2 error.*(RequestLimitExceeded|Throttl|rate exceeded)",
        fault=Fault.WORLD,
    ),
    Cause(
        "deployment-configuration",
        EVENTS,
        "the service's minimumHealthyPercent and maximumPercent let ECS neither stop nor start a task",
        "let at least one task be started or stopped: raise maximum_percent, or lower minimum_healthy_percent",
        text=r"because of the service deployment configuration",
    ),
    Cause(
        "spot-interruption",
        STOPPED,
        "AWS took the task's Spot capacity back",
        "release again; keep a base of FARGATE beside FARGATE_SPOT in the capacity provider strategy",
        text=r"SpotInterruption|spot task was interrupted",
        fault=Fault.WORLD,
    ),
    Cause(
        "retired",
        MAINTENANCE,
        "AWS retired the task, or the machine under it",
        "release again; ECS replaces such tasks by itself",
        text=r"TerminationNotice|InfrastructureHealth|performing maintenance|task retirement|scheduled for retirement|"
        r"Host EC2 .* (terminated|stopped)|container instance.*(deregistered|unhealthy)",
        fault=Fault.WORLD,
    ),
    Cause(
        "stopped-by-person",
        STOPPED,
        "a person or another program stopped the tasks (StopTask)",
        "find out who, in CloudTrail (StopTask); then release again",
        text=r"UserInitiated|stopped by (a )?user",
        fault=Fault.WORLD,
    ),
    Cause(
        "aws-internal",
        STOPPED,
        "AWS itself failed inside",
        "release again; if it stays, see the AWS Health Dashboard",
        text=r"\bInternalError\b|internal service error|^\w*: Internal error\b|Timeout waiting for agent",
        fault=Fault.WORLD,
    ),
)

GENERAL = (
    Cause(
        "launch-refused",
        EVENTS,
        "ECS cannot launch a task: {why}",
        "mend what AWS names",
        text=r"failed to launch a task with \(error (?P<why>.*?)\)\.?$",
        general=True,
    ),
    Cause(
        "not-placed",
        EVENTS,
        "ECS cannot place a task: {why}",
        "mend what AWS names; see the service's events in the console",
        text=r"unable to place a task[.,]? *(Reason: |because )?(?P<why>.*)",
        general=True,
    ),
    Cause(
        "container-exited",
        RESOLVE,
        "an essential container of the task ended, and AWS tells no exit code",
        "read the log below, or the container's stream in CloudWatch Logs",
        text=r"essential container",
        general=True,
    ),
    Cause(
        "alarm",
        "How CloudWatch alarms detect Amazon ECS deployment failures",
        "a CloudWatch alarm ended the deployment",
        "see the alarm's metric in the time of the deployment",
        text=r"\balarms?\b.*(triggered|deployment|ended)|deployment.*\balarms?\b",
        general=True,
    ),
    Cause(
        "starts-fail",
        "Amazon ECS service throttle logic",
        "the new version's tasks keep failing to start, and AWS's reasons are gone",
        "look at the stopped tasks in the console within an hour of the failure, and at the log group",
        text=r"unable to consistently start tasks",
        general=True,
    ),
    Cause(
        "circuit-breaker",
        BREAKER,
        "ECS's circuit breaker ended the deployment, and AWS's reasons are gone",
        "look at the stopped tasks in the console within an hour of the failure, and at the log group",
        text=r"circuit breaker|tasks failed to start",
        general=True,
    ),
)
