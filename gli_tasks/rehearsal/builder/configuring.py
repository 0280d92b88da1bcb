"""How an instruction changes an image's configuration; pure.

Rules: https://docs.docker.com/reference/dockerfile/.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gli_tasks.image.dockerfile import DockerfileError, Instruction
from gli_tasks.image.words import expand, nanoseconds, split_pairs, split_words
from gli_tasks.rehearsal.builder.config import ContainerConfig, Healthcheck

DEFAULT_SHELL = ("/bin/sh", "-c")

_change = msgspec.structs.replace


def configured(
    config: ContainerConfig,
    instruction: Instruction,
    variables: Mapping[str, str],
    escape: str,
    *,
    keeps_command: bool,
) -> ContainerConfig:
    """Return ``config`` after an instruction that concerns nothing else.

    ``keeps_command``: an ENTRYPOINT leaves CMD; an inherited command belonged to the inherited entry point.
    Raises DockerfileError or WordError.
    """
    keyword = instruction.keyword
    if keyword == "ENV":
        merged = {**config.environment, **_pairs(instruction, variables, escape)}
        return _change(config, env=tuple(f"{name}={value}" for name, value in merged.items()))
    if keyword == "LABEL":
        return _change(config, labels={**(config.labels or {}), **_pairs(instruction, variables, escape)})
    if keyword == "CMD":
        return _change(config, cmd=_command(config, instruction))
    if keyword == "ENTRYPOINT":
        command = config.cmd if keeps_command else None
        return _change(config, entrypoint=_command(config, instruction), cmd=command)
    if keyword == "SHELL":
        if not instruction.words:
            raise DockerfileError(instruction.line, "SHELL requires the arguments to be in JSON form")
        return _change(config, shell=instruction.words)
    if keyword == "HEALTHCHECK":
        return _change(config, healthcheck=_healthcheck(instruction))
    words = instruction.words or tuple(split_words(instruction.text, escape))
    words = tuple(expand(word, variables, escape) for word in words)
    if keyword == "USER":
        return _change(config, user=words[0])
    if keyword == "STOPSIGNAL":
        return _change(config, stop_signal=words[0])
    if keyword == "VOLUME":
        return _change(config, volumes={**(config.volumes or {}), **{word: {} for word in words}})
    assert keyword == "EXPOSE", keyword
    ports: dict[str, dict[str, str]] = {word if "/" in word else f"{word}/tcp": {} for word in words}
    return _change(config, exposed_ports={**(config.exposed_ports or {}), **ports})


def _pairs(instruction: Instruction, variables: Mapping[str, str], escape: str) -> dict[str, str]:
    return {
        expand(key, variables, escape): expand(value, variables, escape)
        for key, value in split_pairs(instruction.text, escape)
    }


def _command(config: ContainerConfig, instruction: Instruction) -> tuple[str, ...]:
    if instruction.words is not None:
        return instruction.words
    return (*(config.shell or DEFAULT_SHELL), instruction.text)


def _healthcheck(instruction: Instruction) -> Healthcheck:
    kind, *rest = instruction.text.split(maxsplit=1)
    if kind.upper() == "NONE":
        return Healthcheck(test=("NONE",))
    if kind.upper() != "CMD" or not rest:
        raise DockerfileError(instruction.line, f"Unknown type {kind!r} in HEALTHCHECK (try CMD)")
    try:
        test = ("CMD", *msgspec.json.decode(rest[0], type=tuple[str, ...]))
    except msgspec.MsgspecError:
        test = ("CMD-SHELL", rest[0])
    flags = instruction.flags
    retries = flags.get("retries", "0")
    if not retries.isdecimal():
        raise DockerfileError(instruction.line, f"--retries={retries} is not a number")
    return Healthcheck(
        test=test,
        interval=nanoseconds(flags.get("interval", "0")),
        timeout=nanoseconds(flags.get("timeout", "0")),
        start_period=nanoseconds(flags.get("start-period", "0")),
        retries=int(retries),
    )
