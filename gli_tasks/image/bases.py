"""Which images a Dockerfile builds upon; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gli_tasks.image.dockerfile import Dockerfile, DockerfileError, Instruction
from gli_tasks.image.words import WordError, expand, split_words

_NOTHING = "scratch"


@dataclass(frozen=True, slots=True)
class NamedBases:
    """The images that a build begins with or copies from, each once and in order.

    ``last`` is the one that the final stage stands on; empty where that is ``scratch``.
    """

    names: tuple[str, ...]
    last: str


def named_bases(dockerfile: Dockerfile, arguments: Mapping[str, str]) -> NamedBases:
    """Return the images that FROM and COPY --from name, arguments filled in; stages and ``scratch`` are none.

    Only an ARG before the first FROM counts in a FROM (Dockerfile reference, "Understand how ARG and FROM interact").
    Raises DockerfileError.
    """
    values: dict[str, str] = {}
    stages: dict[str, str] = {}
    names: list[str] = []
    last, count = "", 0
    for instruction in dockerfile.instructions:
        if instruction.keyword == "ARG" and not count:
            for word in split_words(instruction.text):
                name, _, default = word.partition("=")
                values[name] = arguments.get(name, _expanded(instruction, default, values, dockerfile.escape))
        elif instruction.keyword == "FROM":
            reference, stage = _stage(instruction, values, dockerfile.escape)
            last = stages.get(reference.lower(), "" if reference == _NOTHING else reference)
            names.append(last)
            stages |= dict.fromkeys({stage.lower(), str(count)} - {""}, last)
            count += 1
        elif origin := instruction.flags.get("from", ""):
            names.append(stages.get(origin.lower(), origin))
    return NamedBases(tuple(dict.fromkeys(name for name in names if name)), last)


def _stage(instruction: Instruction, values: Mapping[str, str], escape: str) -> tuple[str, str]:
    """Return what a FROM begins with, and the name of its stage."""
    words = [_expanded(instruction, word, values, escape) for word in split_words(instruction.text)]
    named = len(words) == 3 and words[1].lower() == "as"
    if not words[0] or not (named or len(words) == 1):
        raise DockerfileError(instruction.line, f"FROM {instruction.text} names no image")
    return words[0], words[2] if named else ""


def _expanded(instruction: Instruction, word: str, values: Mapping[str, str], escape: str) -> str:
    try:
        return expand(word, values, escape)
    except WordError as error:
        raise DockerfileError(instruction.line, str(error)) from None
