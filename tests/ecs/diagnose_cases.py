"""What AWS writes for each cause of a failed rollout, with the page or thread that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gli_tasks.ecs.diagnose import Log, Symptoms, TargetFacts
from gli_tasks.ecs.plan import Balanced, TaskFacts

TARGET_GROUP = "arn:aws:elasticloadbalancing:ap-northeast-2:123456789012:targetgroup/api/0123456789abcdef"
ECR = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com/gli/api"
STARTED = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ELB_FAILED = f"Task failed ELB health checks in (target-group {TARGET_GROUP})"
EXITED = "Essential container in task exited"
SECRET = "arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:gli/db/prod-AbCdEf"
NO_SECRET = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
    "unable to retrieve secret from asm: service call has been retried 1 time(s): "
)


RUNTIME = (
    "ResourceInitializationError: failed to create new container runtime task: failed to create shim task: OCI runtime "
    "create failed: runc create failed: unable to start container process: "
)


def stopped(
    reason: str,
    code: str = "TaskFailedToStart",
    exits: dict[str, int] | None = None,
    *reasons: str,
    name: str = "t1",
    lived_s: float = 30,
) -> TaskFacts:
    return TaskFacts(
        name,
        "api:8",
        "ecs-svc/1",
        "STOPPED",
        code,
        reason,
        {},
        exits or {},
        reasons,
        address="10.0.1.5",
        started_at=STARTED,
        stopping_at=STARTED + timedelta(seconds=lived_s),
    )


def twice(*arguments: Any, **more: Any) -> tuple[TaskFacts, ...]:
    return tuple(stopped(*arguments, **more, name=name) for name in ("t1", "t2"))


def crashed(code: int, *reasons: str) -> tuple[TaskFacts, ...]:
    return twice(EXITED, "EssentialContainerExited", {"api": code}, *reasons)


def failed_checks(
    reason: str, description: str, *, log: tuple[str, ...] = (), grace_s: int = 0, lived_s: float = 90
) -> Symptoms:
    """A service whose tasks run, and whose targets fail for a reason."""
    return Symptoms(
        stopped=twice(ELB_FAILED, "ServiceSchedulerInitiated", {"api": 137}, lived_s=lived_s),
        log=Log("/ecs/api ecs/api/t2", log) if log else None,
        targets=(TargetFacts("10.0.1.5", 8000, "unhealthy", reason, description),),
        events=(
            f"(service api) (port 8000) is unhealthy in (target-group {TARGET_GROUP}) due to (reason {description})",
        ),
        balanced=(Balanced(TARGET_GROUP, "api", 8000),),
        grace_s=grace_s,
    )


def event(message: str) -> Symptoms:
    return Symptoms(events=(message, "(service api) has reached a steady state."))


@dataclass(frozen=True)
class Case:
    """Symptoms, the cause that they must be given, a word of its sentence and one of its next step."""

    cause: str
    source: str
    symptoms: Symptoms
    sentence: str
    next_step: str


def pull(words: str) -> Symptoms:
    return Symptoms(stopped=twice(f"CannotPullContainerError: {words}"))


PULL_PAGE = "CannotPullContainer task errors in Amazon ECS"
STOP_PAGE = "Amazon ECS stopped tasks error messages"
INIT_PAGE = "Troubleshoot Amazon ECS ResourceInitializationError errors"
EVENT_PAGE = "Amazon ECS service event messages"
REASONS = "Health checks for Application Load Balancer target groups: health check reason codes"
KNOWLEDGE = "AWS re:Post: Why is my Amazon ECS task stopped?"

CASES = (
    Case(
        "image-not-found",
        PULL_PAGE,
        pull(
            f"pull image manifest has been retried 5 time(s): failed to resolve ref {ECR}@sha256:{'4' * 64}: not found"
        ),
        "no such image",
        "image.list",
    ),
    Case(
        "image-not-found",
        PULL_PAGE,
        pull(f"API error (404): repository {ECR} not found"),
        "no such image",
        "image.list",
    ),
    Case(
        "image-not-found",
        PULL_PAGE,
        pull(
            "Error response from daemon: manifest for example:v2 not found: manifest unknown: Requested image not found"
        ),
        "no such image",
        "image.list",
    ),
    Case(
        "image-denied",
        PULL_PAGE,
        pull(f"Error response from daemon: Get https://{ECR}/manifests/latest: no basic auth credentials"),
        "refuses access",
        "execution role",
    ),
    Case(
        "image-denied",
        PULL_PAGE,
        pull(
            "pull image manifest has been retried 1 time(s): failed to resolve ref "
            f"{ECR}:v1: unexpected status from HEAD "
            "request to https://x/v2/gli/api/manifests/v1: 403 Forbidden"
        ),
        "refuses access",
        "repository's policy",
    ),
    Case(
        "image-denied",
        PULL_PAGE,
        pull(
            "Error response from daemon: pull access denied for example, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied"
        ),
        "refuses access",
        "execution role",
    ),
    Case(
        "registry-failed",
        PULL_PAGE,
        pull(
            f"failed to resolve ref {ECR}:v1: unexpected status from HEAD request to https://x: 503 Service Unavailable"
        ),
        "the registry failed inside",
        "Health Dashboard",
    ),
    Case(
        "image-unreachable",
        PULL_PAGE,
        pull(
            "pull image manifest has been retried 5 time(s): failed to resolve ref "
            f"{ECR}:v42: failed to do request: Head "
            '"https://x/v2/api/manifests/v42": dial tcp 10.0.3.17:443: i/o timeout'
        ),
        "cannot be reached",
        "NAT gateway",
    ),
    Case(
        "image-unreachable",
        PULL_PAGE,
        pull('API error (500): Get https://x/v2/: net/http: request canceled while waiting for connection"'),
        "cannot be reached",
        "VPC endpoints",
    ),
    Case(
        "image-rate-limit",
        PULL_PAGE,
        pull(
            "inspect image has been retried 5 time(s): httpReaderSeeker: failed "
            "open: unexpected status code 429 Too Many "
            "Requests - toomanyrequests: You have reached your pull rate limit."
        ),
        "rate limit",
        "ECR",
    ),
    Case(
        "image-disk-full",
        PULL_PAGE,
        pull("write /var/lib/docker/tmp/GetImageBlob111111111: no space left on device"),
        "disk is full",
        "ephemeralStorage",
    ),
    Case(
        "image-layers",
        PULL_PAGE,
        pull(
            "ref pull has been retried 1 time(s): failed to copy: httpReaderSeeker: failed open: unexpected status code"
        ),
        "layers cannot be fetched",
        "S3",
    ),
    Case(
        "image-platform",
        "aws/containers-roadmap issue 1120",
        pull(
            "pull image manifest has been retried 7 time(s): image Manifest does "
            "not contain descriptor matching platform "
            "'linux/amd64'."
        ),
        "another platform",
        "runtimePlatform",
    ),
    Case(
        "image-platform",
        PULL_PAGE,
        pull("no matching manifest for linux/amd64 in the manifest list entries"),
        "another platform",
        "runtimePlatform",
    ),
    Case(
        "image-platform",
        EVENT_PAGE,
        event(
            "(service api) was unable to place a task. Reason: CannotPullContainerError: pull image manifest has been "
            "retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'."
        ),
        "another platform",
        "runtimePlatform",
    ),
    Case(
        "image-unpullable",
        STOP_PAGE,
        pull("ref pull has been retried 2 time(s): something that AWS has not written before"),
        "CannotPullContainerError",
        "docker pull",
    ),
    Case(
        "secret-key-missing",
        INIT_PAGE,
        Symptoms(
            stopped=twice(NO_SECRET + f"retrieved secret from Secrets Manager {SECRET} did not contain json key port")
        ),
        "no JSON key port",
        "valueFrom",
    ),
    Case(
        "secret-no-json",
        INIT_PAGE,
        Symptoms(stopped=twice(NO_SECRET + "invalid character '\\'' looking for beginning of value")),
        "is no JSON",
        "JSON object",
    ),
    Case(
        "secret-name-malformed",
        INIT_PAGE,
        Symptoms(stopped=twice(NO_SECRET + "unexpected ARN format with parameters when trying to retrieve ASM secret")),
        "cannot read",
        "valueFrom",
    ),
    Case(
        "secret-missing",
        INIT_PAGE,
        Symptoms(
            stopped=twice(NO_SECRET.replace("secret from asm", "secrets from ssm") + "invalid parameters: /gli/x")
        ),
        "does not exist",
        "create the secret",
    ),
    Case(
        "secret-key-refused",
        INIT_PAGE,
        Symptoms(
            stopped=twice(
                NO_SECRET + f"failed to fetch secret {SECRET} from secrets manager: AccessDeniedException: Access "
                "to KMS is not allowed status code: 400"
            )
        ),
        "KMS key",
        "kms:Decrypt",
    ),
    Case(
        "secret-denied",
        INIT_PAGE,
        Symptoms(
            stopped=twice(
                NO_SECRET + f"failed to fetch secret {SECRET} from secrets manager: AccessDeniedException: User: "
                "arn:aws:sts::1:assumed-role/x is not authorized to perform: secretsmanager:GetSecretValue on "
                f"resource: {SECRET} because no identity-based policy allows it"
            )
        ),
        "may not read a secret",
        "secretsmanager:GetSecretValue",
    ),
    Case(
        "secret-denied",
        INIT_PAGE,
        Symptoms(
            stopped=twice(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval "
                "failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): "
                "AccessDeniedException: User: x is not authorized to perform: ssm:GetParameters"
            )
        ),
        "may not read a secret",
        "ssm:GetParameters",
    ),
    Case(
        "secret-missing",
        INIT_PAGE,
        Symptoms(
            stopped=twice(
                NO_SECRET + f"failed to fetch secret {SECRET} from secrets manager: ResourceNotFoundException: "
                "Secrets Manager can't find the specified secret."
            )
        ),
        "does not exist",
        "create the secret",
    ),
    Case(
        "secrets-throttled",
        INIT_PAGE,
        Symptoms(stopped=twice(NO_SECRET + f"failed to fetch secret {SECRET}: ThrottlingException: Rate exceeded")),
        "throttles the calls",
        "fewer tasks",
    ),
    Case(
        "secrets-service-failed",
        INIT_PAGE,
        Symptoms(
            stopped=twice(NO_SECRET + f"failed to fetch secret {SECRET}: InternalServiceError: An error occurred")
        ),
        "failed inside",
        "release again",
    ),
    Case(
        "secrets-unreachable",
        INIT_PAGE,
        Symptoms(
            stopped=twice(
                NO_SECRET.replace("1 time", "5 time") + f"failed to fetch secret {SECRET} from secrets manager: "
                "RequestCanceled: request context canceled caused by: context deadline exceeded. Please check your "
                "task network configuration."
            )
        ),
        "cannot reach Secrets Manager",
        "VPC endpoints",
    ),
    Case(
        "registry-login-denied",
        INIT_PAGE,
        Symptoms(
            stopped=twice(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval "
                "failed: unable to retrieve ecr registry auth: service call has been retried 1 time(s): "
                "AccessDeniedException: not authorized to perform: ecr:GetAuthorizationToken"
            )
        ),
        "may not log in to ECR",
        "ecr:GetAuthorizationToken",
    ),
    Case(
        "log-group-missing",
        INIT_PAGE,
        Symptoms(
            stopped=twice(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 "
                "times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group "
                "does not exist. : exit status 1"
            )
        ),
        "log group",
        "create the log group",
    ),
    Case(
        "log-denied",
        INIT_PAGE,
        Symptoms(
            stopped=twice(
                "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 "
                "times: failed to create Cloudwatch log stream: AccessDeniedException: x is not authorized to "
                "perform: logs:CreateLogStream"
            )
        ),
        "may not write to the log group",
        "logs:CreateLogStream",
    ),
    Case(
        "volume",
        STOP_PAGE,
        Symptoms(
            stopped=twice("ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes")
        ),
        "volume",
        "2049",
    ),
    Case(
        "initialization",
        STOP_PAGE,
        Symptoms(stopped=twice("ResourceInitializationError: failed to initialize something new")),
        "ResourceInitializationError",
        "AWS's words",
    ),
    Case(
        "role-not-assumed",
        "boto/boto3 issue 1878",
        event(
            "(service api) failed to launch a task with (error ECS was unable to assume the role "
            "'arn:aws:iam::123456789012:role/gli-execution' that was provided for "
            "this task. Please verify that the role "
            "being passed has the proper trust relationship and permissions and "
            "that your IAM user has permissions to pass "
            "this role.)."
        ),
        "arn:aws:iam::123456789012:role/gli-execution",
        "iam:PassRole",
    ),
    Case(
        "exec-format",
        KNOWLEDGE,
        Symptoms(stopped=crashed(255, "exec /app/start: exec format error")),
        "platform",
        "build",
    ),
    Case(
        "exec-format",
        KNOWLEDGE,
        Symptoms(stopped=crashed(1), log=Log("s", ("exec /usr/local/bin/python: exec format error",))),
        "another platform",
        "runtimePlatform",
    ),
    Case(
        "out-of-memory",
        STOP_PAGE,
        Symptoms(stopped=crashed(137, "OutOfMemoryError: Container killed due to memory usage")),
        "more memory than it may",
        "raise memory",
    ),
    Case("killed", KNOWLEDGE, Symptoms(stopped=crashed(137)), "exited with 137", "SIGTERM"),
    Case("segmentation-fault", KNOWLEDGE, Symptoms(stopped=crashed(139)), "segmentation fault", "native libraries"),
    Case("aborted", KNOWLEDGE, Symptoms(stopped=crashed(134)), "exited with 134", "log"),
    Case("terminated", KNOWLEDGE, Symptoms(stopped=crashed(143)), "exited with 143", "wrapper script"),
    Case("container-crashed", KNOWLEDGE, Symptoms(stopped=crashed(1)), "api exited with 1", "log"),
    Case(
        "container-crashed",
        KNOWLEDGE,
        Symptoms(stopped=crashed(2), log=Log("s", ("Traceback (most recent call last):", "KeyError: 'DATABASE_URL'"))),
        "api exited with 2; its log ends with \"KeyError: 'DATABASE_URL'\"",
        "log",
    ),
    Case(
        "container-crashed",
        KNOWLEDGE,
        # The sidecar that ECS stopped beside the one that crashed is not the one to blame.
        Symptoms(stopped=twice(EXITED, "EssentialContainerExited", {"api": 3, "proxy": 137})),
        "crashes: api exited with 3",
        "log",
    ),
    Case("container-ended", KNOWLEDGE, Symptoms(stopped=crashed(0)), "exited with 0", "foreground"),
    Case("command-not-executable", KNOWLEDGE, Symptoms(stopped=crashed(126)), "exited with 126", "chmod"),
    Case("command-not-found", KNOWLEDGE, Symptoms(stopped=crashed(127)), "exited with 127", "entryPoint"),
    Case(
        "command-not-found",
        STOP_PAGE,
        Symptoms(
            stopped=twice(
                'CannotStartContainerError: failed to create task: exec: "servee": executable file not found in $PATH'
            )
        ),
        "not found in the image",
        "entryPoint",
    ),
    *(
        Case(cause, "Fargate, as users report it", Symptoms(stopped=twice(wrapper + RUNTIME + words)), said, step)
        for wrapper in ("", "CannotStartContainerError: ")
        for cause, words, said, step in (
            ("command-not-found", 'exec: "gunicorn": executable file not found in $PATH: unknown', "found", "PATH"),
            ("command-not-found", 'exec: "/app/start.sh": no such file or directory: unknown', "found", "PATH"),
            ("command-not-executable", 'exec: "/app/start.sh": permission denied: unknown', "executed", "chmod"),
            ("exec-format", "exec /app/start: exec format error: unknown", "another platform", "runtimePlatform"),
        )
    ),
    Case(
        "port-taken",
        KNOWLEDGE,
        Symptoms(stopped=crashed(1), log=Log("s", ("OSError: [Errno 98] Address already in use",))),
        "port",
        "port of its own",
    ),
    Case(
        "dependency",
        STOP_PAGE,
        Symptoms(
            stopped=twice(
                "dependency graph: failed to resolve container ordering dependency [db] for target [api] as "
                "dependency did not become HEALTHY"
            )
        ),
        "waits for another",
        "dependsOn",
    ),
    Case(
        "runtime-timeout",
        STOP_PAGE,
        Symptoms(
            stopped=twice(
                "ContainerRuntimeTimeoutError: Could not transition to running; timed out after waiting 1m: x"
            )
        ),
        "did not start in time",
        "entry point",
    ),
    Case(
        "cannot-start",
        STOP_PAGE,
        Symptoms(stopped=twice("CannotStartContainerError: failed to get container status: x")),
        "cannot be started",
        "runtime's words",
    ),
    Case(
        "container-health",
        STOP_PAGE,
        Symptoms(stopped=twice("Task failed container health checks", "ServiceSchedulerInitiated", {"api": 143})),
        "own health checks",
        "startPeriod",
    ),
    Case(
        "container-health",
        EVENT_PAGE,
        event("(service api) (task 0123456789abcdef0123456789abcdef) failed container health checks."),
        "own health checks",
        "healthCheck",
    ),
    Case(
        "target-answers-wrong",
        REASONS,
        failed_checks("Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
        "answers them with 503",
        "health path",
    ),
    Case(
        "target-times-out",
        REASONS,
        failed_checks("Target.Timeout", "Request timed out"),
        "port 8000 in time",
        "security group",
    ),
    Case(
        "target-refuses",
        REASONS,
        failed_checks("Target.FailedHealthChecks", "Health checks failed"),
        "nothing listens on port 8000",
        "0.0.0.0",
    ),
    Case(
        "port-mismatch",
        REASONS,
        failed_checks(
            "Target.FailedHealthChecks", "Health checks failed", log=("[INFO] Listening at: http://0.0.0.0:3000 (1)",)
        ),
        "listens on port 3000, and the target group asks port 8000",
        "the same",
    ),
    Case(
        "port-mismatch",
        REASONS,
        failed_checks("Target.Timeout", "Request timed out", log=("server listening on port 8080",)),
        "listens on port 8080",
        "the same",
    ),
    Case(
        "target-times-out",
        REASONS,
        failed_checks(
            "Target.Timeout", "Request timed out", log=("Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C)",)
        ),
        "Target.Timeout",
        "security group",
    ),
    Case(
        "slow-start",
        REASONS,
        failed_checks(
            "Target.FailedHealthChecks", "Health checks failed", log=("loading the model, 40 %",), grace_s=60
        ),
        "grace period of 60 s",
        "healthCheckGracePeriodSeconds",
    ),
    Case(
        "target-refuses",
        REASONS,
        # It lived for an hour: whatever it was, it was no slow start.
        failed_checks(
            "Target.FailedHealthChecks", "Health checks failed", log=("deadlock",), grace_s=60, lived_s=3_600
        ),
        "nothing listens",
        "0.0.0.0",
    ),
    Case(
        "balancer-error",
        REASONS,
        failed_checks("Elb.InternalError", "Health checks failed due to an internal error"),
        "Elb.InternalError",
        "Health Dashboard",
    ),
    Case(
        "target-group-unused",
        REASONS,
        Symptoms(
            targets=(
                TargetFacts(
                    "10.0.1.5",
                    8000,
                    "unused",
                    "Target.NotInUse",
                    "Target group is not configured to receive traffic from the load balancer",
                ),
            ),
            events=("(service api) has started 2 tasks: (task a) (task b).",),
        ),
        "no traffic from any load balancer",
        "listener rule",
    ),
    Case(
        "target-group-unused",
        EVENT_PAGE,
        event(
            "(service api) failed to register targets in (target-group "
            f"{TARGET_GROUP}) with (error The target group with "
            f"targetGroupArn {TARGET_GROUP} does not have an associated load balancer.)"
        ),
        "no traffic from any load balancer",
        "listener rule",
    ),
    Case(
        "target-unusable",
        REASONS,
        failed_checks("Target.IpUnusable", "The target IP address is reserved for use by a load balancer"),
        "Target.IpUnusable",
        "VPC",
    ),
    Case(
        "target-unregistered",
        REASONS,
        failed_checks("Target.NotRegistered", "Target is not registered to the target group"),
        "Target.NotRegistered",
        "deregisters",
    ),
    Case(
        "registration-failed",
        EVENT_PAGE,
        event(f"(service api) failed to register targets in (target-group {TARGET_GROUP}) with (error x)"),
        "cannot register the tasks",
        "service-linked role",
    ),
    Case(
        "balancer-health",
        STOP_PAGE,
        Symptoms(stopped=twice(ELB_FAILED, "ServiceSchedulerInitiated")),
        "health checks",
        "health path",
    ),
    Case(
        "no-capacity",
        EVENT_PAGE,
        event(
            "(service api) was unable to place a task. Reason: Capacity is "
            "unavailable at this time. Please try again later "
            "or in a different availability zone."
        ),
        "no Fargate capacity",
        "Availability Zones",
    ),
    Case(
        "no-capacity",
        "API failures messages",
        event("(service api) was unable to place a task: RESOURCE:FARGATE"),
        "capacity",
        "wait",
    ),
    Case(
        "quota",
        EVENT_PAGE,
        event(
            "(service api) was unable to place a task. Reason: You've reached the "
            "limit on the number of vCPUs you can run "
            "concurrently"
        ),
        "number of vCPUs",
        "Service Quotas",
    ),
    Case(
        "quota",
        EVENT_PAGE,
        event("(service api) was unable to place a task. Reason: The requested CPU configuration is above your limit."),
        "above your limit",
        "Service Quotas",
    ),
    Case(
        "no-interface",
        "aws-solutions/distributed-load-testing-on-aws issue 82",
        Symptoms(stopped=twice("Timeout waiting for network interface provisioning to complete.")),
        "network interface",
        "quota",
    ),
    Case(
        "subnet-full",
        STOP_PAGE,
        Symptoms(
            stopped=twice(
                "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment disabled "
                "in subnet 'subnet-1': InsufficientFreeAddressesInSubnet"
            )
        ),
        "no free IP address",
        "subnets",
    ),
    Case(
        "no-storage",
        STOP_PAGE,
        Symptoms(stopped=twice("Timeout waiting for EphemeralStorage provisioning to complete.")),
        "ephemeral storage",
        "release again",
    ),
    Case(
        "no-instance",
        EVENT_PAGE,
        event(
            "(service api) was unable to place a task because no container "
            "instance met all of its requirements. The closest "
            "matching (container-instance 1) has insufficient CPU units available."
        ),
        "no container instance",
        "container instances",
    ),
    Case(
        "zone-unsupported",
        EVENT_PAGE,
        event("(service api) was unable to place a task. Reason: Internal error."),
        "Availability Zone",
        "subnets",
    ),
    Case(
        "throttled",
        EVENT_PAGE,
        event("(service api) operations are being throttled on elb. Will try again later."),
        "throttled",
        "wait",
    ),
    Case(
        "deployment-configuration",
        EVENT_PAGE,
        event(
            "(service api) was unable to stop or start tasks during a deployment because of the service deployment "
            "configuration. Update the minimumHealthyPercent or maximumPercent value and try again."
        ),
        "minimumHealthyPercent",
        "maximum_percent",
    ),
    Case(
        "spot-interruption",
        STOP_PAGE,
        Symptoms(stopped=twice("Your Spot Task was interrupted.", "SpotInterruption", {"api": 143})),
        "Spot capacity",
        "FARGATE",
    ),
    Case(
        "retired",
        "Task retirement and maintenance for AWS Fargate on Amazon ECS",
        Symptoms(
            stopped=twice(
                "ECS is performing maintenance on the underlying infrastructure hosting the task.", "", {"api": 143}
            )
        ),
        "retired",
        "release again",
    ),
    Case(
        "stopped-by-person",
        STOP_PAGE,
        Symptoms(stopped=twice("Task stopped by user", "UserInitiated", {"api": 143})),
        "StopTask",
        "CloudTrail",
    ),
    Case("aws-internal", STOP_PAGE, Symptoms(stopped=twice("InternalError: x", "")), "AWS itself", "Health Dashboard"),
    Case(
        "launch-refused",
        EVENT_PAGE,
        event("(service api) failed to launch a task with (error something that AWS has not written before)."),
        "something that AWS has not written before",
        "mend",
    ),
    Case(
        "not-placed",
        EVENT_PAGE,
        event("(service api) was unable to place a task. Reason: Surprise."),
        "Surprise",
        "console",
    ),
    Case(
        "container-exited",
        STOP_PAGE,
        Symptoms(stopped=twice(EXITED, "EssentialContainerExited")),
        "no exit code",
        "CloudWatch",
    ),
    Case(
        "starts-fail",
        "Amazon ECS service throttle logic",
        event("(service api) is unable to consistently start tasks successfully."),
        "keep failing to start",
        "within an hour",
    ),
    Case(
        "circuit-breaker",
        "How the Amazon ECS deployment circuit breaker detects failures",
        Symptoms(rollout="ECS deployment circuit breaker: tasks failed to start."),
        "circuit breaker",
        "within an hour",
    ),
    Case(
        "alarm",
        "How CloudWatch alarms detect Amazon ECS deployment failures",
        Symptoms(rollout="the deployment was ended by the alarms api-5xx: rollback in progress"),
        "alarm",
        "metric",
    ),
)
