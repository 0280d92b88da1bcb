"""Why a task does not get as far as its containers: images, secrets, roles, log groups, volumes."""

from __future__ import annotations

from gli_tasks.ecs.causes.kinds import EVENTS, INITIALIZE, PULL, STOPPED, Cause, Fault

_NO_ROUTE = (
    r"(i/o timeout|request cancell?ed|context (deadline exceeded|cancell?ed)|no such host|connection refused|"
    r"tls handshake timeout|send request failed|dial tcp|network configuration)"
)
_DENIED = r"(AccessDenied|not authorized to perform|is not authorized)"
_THROTTLED = r"(Throttl|TooManyRequests|too many requests|RequestLimitExceeded|rate exceeded|SlowDown)"
_AWS_FAILED = (
    r"(Internal(Service|Server)?(Error|Failure|Exception)|internal (service|server) error|Service ?Unavailable|"
    r"Bad Gateway|Gateway Time-?out|status ?code:? 5\d\d)"
)
_SETTING_UP = r"(ResourceInitialization|pull secrets|registry auth|logger args)"
_CANNOT_PULL = "the image cannot be pulled (CannotPullContainerError): "

IMAGE = (
    Cause(
        "image-platform",
        PULL,
        _CANNOT_PULL + "it was built for another platform than the one that the task runs on",
        "build the image for the platform of the task definition's runtimePlatform (default linux/amd64), push it, "
        "and release again",
        text=r"no matching manifest|descriptor matching platform|descriptor for platform|no match for platform",
    ),
    Cause(
        "image-rate-limit",
        PULL,
        _CANNOT_PULL + "the registry's pull rate limit is reached",
        "wait, log in to the registry (repositoryCredentials), or keep the image in ECR",
        text=r"toomanyrequests|pull rate limit|429 too many requests|CannotPullContainer.*" + _THROTTLED,
        fault=Fault.WORLD,
    ),
    Cause(
        "registry-failed",
        PULL,
        _CANNOT_PULL + "the registry failed inside, or its answer did",
        "release again; if it stays, see the AWS Health Dashboard (ECR, S3), or the registry's own status page",
        text=r"CannotPullContainer.*" + _AWS_FAILED,
        fault=Fault.WORLD,
    ),
    Cause(
        "image-disk-full",
        PULL,
        _CANNOT_PULL + "the task's disk is full",
        "make the image smaller, or raise ephemeralStorage in the task definition",
        text=r"pull.*no space left on device|CannotPullContainer.*no space left on device",
    ),
    Cause(
        "image-layers",
        PULL,
        _CANNOT_PULL + "its layers cannot be fetched, though its manifest can",
        "let the task's subnets reach S3, where ECR keeps layers: a NAT gateway, or a gateway endpoint for S3 whose "
        "policy allows it",
        text=r"CannotPullContainer.*failed to copy",
        fault=Fault.WORLD,
    ),
    Cause(
        "image-denied",
        PULL,
        _CANNOT_PULL + "the registry refuses access",
        "allow ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer to the task execution "
        "role, and check the repository's policy",
        text=r"CannotPullContainer.*(no basic auth|403 forbidden|401 unauthorized|access denied|\bdenied\b|"
        r"not authorized|pull access denied|authorization failed)",
    ),
    Cause(
        "image-unreachable",
        PULL,
        _CANNOT_PULL + "the registry cannot be reached from the task's subnet",
        "give the subnets a route to the registry: a NAT gateway, a public IP in public subnets, or VPC endpoints "
        "for ECR and S3; and let the security group out to port 443",
        text=r"CannotPullContainer.*" + _NO_ROUTE,
        fault=Fault.WORLD,
    ),
    Cause(
        "image-not-found",
        PULL,
        _CANNOT_PULL + "the registry has no such image",
        "check that the image was pushed and not pruned (`invoke image.list`), and the repository's name",
        text=r"CannotPullContainer.*(not found|manifest unknown|name unknown|does not exist|\b404\b)",
    ),
    Cause(
        "image-unpullable",
        PULL,
        _CANNOT_PULL + "read the registry's words below",
        "try the pull by hand (`docker pull` of the image in the task definition)",
        text=r"CannotPullContainer|pull image manifest|failed to pull",
        fault=Fault.UNKNOWN,
    ),
)

INITIALIZATION = (
    Cause(
        "secret-key-missing",
        INITIALIZE,
        "a secret of the task definition has no JSON key {key}",
        "add the key to the secret in Secrets Manager, or correct valueFrom in the task definition",
        text=r"did not contain json key (?P<key>\S+)",
    ),
    Cause(
        "secret-no-json",
        INITIALIZE,
        "a secret whose JSON key the task definition asks for is no JSON",
        "store the secret as a JSON object, or take the key out of valueFrom",
        text=r"unable to retrieve secret.*invalid character",
    ),
    Cause(
        "secret-name-malformed",
        INITIALIZE,
        "the task definition names a secret in a way that ECS cannot read",
        "correct valueFrom in the task definition: arn, then :json-key:version-stage:version-id, all colons there",
        text=r"unexpected ARN format",
    ),
    Cause(
        "secret-key-refused",
        INITIALIZE,
        "the task execution role may not use the KMS key of a secret",
        "allow kms:Decrypt on the secret's key to the task execution role",
        text=r"access to KMS is not allowed|kms:Decrypt",
    ),
    Cause(
        "registry-login-denied",
        INITIALIZE,
        "the task execution role may not log in to ECR",
        "allow ecr:GetAuthorizationToken to the task execution role",
        text=r"(ecr registry auth.*" + _DENIED + r"|not authorized to perform: ecr:GetAuthorizationToken)",
    ),
    Cause(
        "log-group-missing",
        INITIALIZE,
        "the log group of the task definition does not exist",
        "create the log group that awslogs-group names, or set awslogs-create-group and allow it to the execution role",
        text=r"log group does not exist",
    ),
    Cause(
        "log-denied",
        INITIALIZE,
        "the task execution role may not write to the log group",
        "allow logs:CreateLogStream and logs:PutLogEvents to the task execution role",
        text=r"(logger args|logging driver|log stream).*" + _DENIED,
    ),
    Cause(
        "secret-denied",
        INITIALIZE,
        "the task execution role may not read a secret of the task definition",
        "allow secretsmanager:GetSecretValue (or ssm:GetParameters) on it to the task execution role; a name that "
        "ends in a hyphen and six characters needs the full ARN",
        text=r"(secret|ssm|asm).*" + _DENIED + r"|not authorized to perform: (secretsmanager|ssm):",
    ),
    Cause(
        "secret-missing",
        INITIALIZE,
        "a secret of the task definition does not exist",
        "create the secret, or correct valueFrom in the task definition (name, region, account, version)",
        text=r"can't find the specified secret|ParameterNotFound|invalid (ssm )?parameters|"
        r"(secret|asm).*ResourceNotFoundException|fetch secret.*ValidationException",
    ),
    Cause(
        "secrets-throttled",
        INITIALIZE,
        "AWS throttles the calls that get a task its secrets, its login to ECR or its log stream",
        "wait and release again; see what else in the account calls the same APIs, and start fewer tasks at once",
        text=_SETTING_UP + r".*" + _THROTTLED,
        fault=Fault.WORLD,
    ),
    Cause(
        "secrets-service-failed",
        INITIALIZE,
        "Secrets Manager, Parameter Store, ECR or CloudWatch Logs failed inside when the task was set up",
        "release again; if it stays, see the AWS Health Dashboard",
        text=_SETTING_UP + r".*" + _AWS_FAILED,
        fault=Fault.WORLD,
    ),
    Cause(
        "secrets-unreachable",
        INITIALIZE,
        "the task cannot reach Secrets Manager, Parameter Store, ECR or CloudWatch Logs from its subnet",
        "give the subnets a NAT gateway or VPC endpoints (secretsmanager, ssm, ecr.api, ecr.dkr, logs), let the "
        "security group out to port 443, and check the VPC's DNS",
        text=_SETTING_UP + r".*" + _NO_ROUTE + r"|logger args.*signal: killed",
        fault=Fault.WORLD,
    ),
    Cause(
        "volume",
        STOPPED,
        "a volume of the task cannot be made or mounted",
        "check the file system, its mount targets in the task's subnets, and port 2049 of their security group",
        text=r"EFS utils|mount\.nfs|CannotCreateVolume",
        fault=Fault.UNKNOWN,
    ),
    Cause(
        "role-not-assumed",
        EVENTS,
        "ECS cannot take on the role {role} of the task definition",
        "let ecs-tasks.amazonaws.com assume the role (its trust policy), check that it exists, and allow "
        "iam:PassRole to whoever releases",
        text=r"unable to assume the (service linked )?role[ :]*'?(?P<role>arn:[^' ),]+)?",
    ),
)

# Fargate wraps in it what the container runtime says as well, so it comes after what is said of containers.
UNTOLD = (
    Cause(
        "initialization",
        INITIALIZE,
        "the task's resources cannot be set up (ResourceInitializationError)",
        "read AWS's words below; most often it is a secret, a role or the way to the network",
        text=r"ResourceInitializationError|failed to initialize logging driver",
        fault=Fault.UNKNOWN,
    ),
)
