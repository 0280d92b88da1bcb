"""Why a container does not start, or does not stay."""

from __future__ import annotations

from gli_tasks.ecs.causes.kinds import EXIT_CODES, RESOLVE, STOPPED, Cause, Fault

CONTAINER = (
    Cause(
        "exec-format",
        EXIT_CODES,
        "the container cannot run its program: exec format error, so the image was built for another platform",
        "build the image for the platform of the task definition's runtimePlatform (default linux/amd64), push it, "
        "and release again",
        text=r"exec format error",
        log=r"exec format error",
    ),
    Cause(
        "out-of-memory",
        STOPPED,
        "the container was killed because it used more memory than it may (OutOfMemoryError)",
        "raise memory in the task definition, or find out why the new version needs more",
        text=r"OutOfMemory",
    ),
    Cause(
        "command-not-found",
        EXIT_CODES,
        "the container's command was not found in the image{exited}",
        "check entryPoint and command in the task definition, and the image's ENTRYPOINT, CMD and PATH",
        text=r"executable file not found|(CannotStartContainer|runtime task).*no such file or directory|"
        r"\bexited with 127\b",
    ),
    Cause(
        "command-not-executable",
        EXIT_CODES,
        "the container's command may not be executed{exited}",
        "make the program executable in the image (chmod +x), and check the user that it runs as",
        text=r"(CannotStartContainer|runtime task).*permission denied|\bexited with 126\b",
    ),
    Cause(
        "port-taken",
        RESOLVE,
        "the port that the container wants to open is taken{exited}",
        "give each container of the task a port of its own",
        log=r"address already in use|EADDRINUSE",
    ),
    Cause(
        "segmentation-fault",
        EXIT_CODES,
        "the container crashed with a segmentation fault{exited}",
        "run the image locally; check native libraries and the platform that they were built for",
        text=r"\bexited with 139\b",
    ),
    Cause(
        "aborted",
        EXIT_CODES,
        "the container's program aborted itself{exited}",
        "read the log below for the assertion or the exception that it died of",
        text=r"\bexited with 134\b",
    ),
    Cause(
        "killed",
        EXIT_CODES,
        "the container was killed{exited}: out of memory, or deaf to SIGTERM until stopTimeout was over",
        "look at the task's memory in Container Insights; raise memory, or let the program heed SIGTERM",
        text=r"\bexited with 137\b",
    ),
    Cause(
        "terminated",
        EXIT_CODES,
        "the container was told to end, and did{exited}: something inside the task sent SIGTERM",
        "read the log below for who stopped it; a supervisor or a wrapper script is the usual one",
        text=r"\bexited with 143\b",
    ),
    Cause(
        "container-ended",
        RESOLVE,
        "the container's program came to its end{exited}, though it should serve on",
        "let the main program stay in the foreground (exec in the entry point's script), and check its command",
        text=r"\bexited with 0\b",
    ),
    Cause(
        "container-crashed",
        RESOLVE,
        "the new version's container crashes{exited}{line}",
        "read the log below, and mend what it names; `docker run` the image with the task's environment to see it here",
        text=r"exited with [1-9]\d*",
    ),
    Cause(
        "dependency",
        RESOLVE,
        "a container waits for another of its task that did not become what dependsOn asks for",
        "read the log of the container that it depends on, and check dependsOn and its health check",
        text=r"container ordering dependency|dependency graph",
    ),
    Cause(
        "runtime-timeout",
        STOPPED,
        "the container did not start in time (ContainerRuntimeTimeoutError)",
        "check startTimeout, dependsOn and the entry point; then release again",
        text=r"ContainerRuntimeTimeout|DockerTimeoutError|could not transition to (running|created)",
        fault=Fault.UNKNOWN,
    ),
    Cause(
        "cannot-start",
        STOPPED,
        "the container cannot be started",
        "read the runtime's words below; check the command, the user, volumes and ulimits",
        text=r"CannotStartContainer|CannotCreateContainer|CannotInspectContainer",
        fault=Fault.UNKNOWN,
    ),
)
