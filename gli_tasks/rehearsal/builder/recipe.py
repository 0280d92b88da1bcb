"""Build an image from a Dockerfile: each instruction in turn changes the configuration, or adds a layer."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gli_tasks.image.dockerfile import Dockerfile, DockerfileError, Instruction
from gli_tasks.image.words import WordError, expand, split_words
from gli_tasks.rehearsal.builder.config import (
    EPOCH,
    ContainerConfig,
    History,
    ImageConfig,
    Platform,
    RootFilesystem,
    encode_config,
    parse_platform,
)
from gli_tasks.rehearsal.builder.configuring import configured
from gli_tasks.rehearsal.builder.copying import CopyError, copy_changes
from gli_tasks.rehearsal.builder.layer import Layer, write_layer
from gli_tasks.rehearsal.builder.tree import DIRECTORY, Entry, Tree, inside
from gli_tasks.rehearsal.registry.names import digest_of

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NO_COMMANDS = (
    "the stand-in builder runs no commands, and line {line} is RUN {command!r}: "
    "start a Docker engine (DOCKER_HOST) to build this image"
)


class BuildError(Exception):
    """The build fails; the text is what the builder's client is told."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What FROM begins with."""

    config: ImageConfig
    layers: tuple[Layer, ...]
    tree: Tree


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What the client asks of a build beside the Dockerfile."""

    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    target: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """The result: the configuration's bytes (their digest is the image's Id) and its layers."""

    config: bytes
    layers: tuple[Layer, ...]
    tree: Tree


@dataclass(slots=True)
class _Stage:
    """A stage while it is built."""

    name: str
    config: ContainerConfig
    author: str
    layers: list[Layer]
    history: list[History]
    tree: Tree
    arguments: dict[str, str]
    sets_command: bool = False


class Recipe:
    """One build: ``run`` yields the lines that Docker's classic builder prints, then ``result`` is there."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        context: Tree,
        options: BuildOptions,
        blobs: Path,
        find_base: Callable[[str], BaseImage | None],
    ) -> None:
        """Build with ``context``; layers go into ``blobs``; ``find_base`` knows the images that were built here."""
        self._dockerfile = dockerfile
        self._context = context
        self._options = options
        self._blobs = blobs
        self._find_base = find_base
        self._platform: Platform = parse_platform(options.platform)
        self._created = _creation_time(options.arguments.get("SOURCE_DATE_EPOCH", ""))
        self._global_arguments: dict[str, str] = {}
        self._consumed: set[str] = {"SOURCE_DATE_EPOCH"}
        self._stages: list[_Stage] = []
        self.result: BuiltImage | None = None

    def run(self) -> Iterator[str]:
        """Build. Raises DockerfileError or BuildError, both with the line's number, and OSError."""
        instructions = self._dockerfile.instructions
        for number, instruction in enumerate(instructions, 1):
            if instruction.keyword == "FROM" and self._is_target(self._stages[-1:]):
                break
            yield f"Step {number}/{len(instructions)} : {instruction}\n"
            try:
                self._apply(instruction)
            except (WordError, CopyError) as error:
                raise BuildError(f"{instruction.keyword} failed in line {instruction.line}: {error}") from error
            if self._stages:
                yield f" ---> {_short_id(self._config_of(self._stages[-1]))}\n"
        if not self._stages:
            raise DockerfileError(instructions[-1].line, "no build stage: the Dockerfile has no FROM")
        final = self._stages[-1]
        if self._options.target and not self._is_target([final]):
            raise BuildError(f"failed to reach build target {self._options.target} in Dockerfile")
        unused = sorted(set(self._options.arguments) - self._consumed)
        if unused:
            yield f"[Warning] One or more build-args {unused} were not consumed\n"
        if self._options.labels:
            labels = {**(final.config.labels or {}), **self._options.labels}
            final.config = msgspec.structs.replace(final.config, labels=labels)
        self.result = BuiltImage(encode_config(self._config_of(final)), tuple(final.layers), final.tree)

    def _is_target(self, stages: list[_Stage]) -> bool:
        wanted = self._options.target.lower()
        return bool(wanted and stages) and wanted in (stages[-1].name, str(len(self._stages) - 1))

    def _config_of(self, stage: _Stage) -> ImageConfig:
        return ImageConfig(
            architecture=self._platform.architecture,
            os=self._platform.os,
            created=self._created,
            author=stage.author,
            config=stage.config,
            rootfs=RootFilesystem(diff_ids=tuple(layer.diff_id for layer in stage.layers)),
            history=tuple(stage.history),
        )

    def _apply(self, instruction: Instruction) -> None:
        keyword = instruction.keyword
        if keyword == "FROM":
            self._from(instruction)
            return
        if not self._stages:
            if keyword != "ARG":
                raise DockerfileError(instruction.line, f"no build stage in current context: {keyword} before FROM")
            self._global_argument(instruction)
            return
        stage = self._stages[-1]
        if keyword in ("COPY", "ADD"):
            self._copy(stage, instruction)
        elif keyword == "WORKDIR":
            self._workdir(stage, instruction)
        elif keyword == "ARG":
            self._argument(stage, instruction)
        elif keyword == "RUN":
            raise BuildError(NO_COMMANDS.format(line=instruction.line, command=instruction.text))
        elif keyword == "ONBUILD":
            raise BuildError(f"the stand-in builder does not do ONBUILD (line {instruction.line})")
        elif keyword == "MAINTAINER":
            stage.author = instruction.text
        else:
            keeps_command = keyword != "ENTRYPOINT" or stage.sets_command
            stage.sets_command = stage.sets_command or keyword == "CMD"
            stage.config = configured(
                stage.config, instruction, self._variables(stage), self._dockerfile.escape, keeps_command=keeps_command
            )
        if keyword not in ("COPY", "ADD", "WORKDIR", "ARG"):
            stage.history.append(History(self._created, f"/bin/sh -c #(nop)  {instruction}", empty_layer=True))

    # Stages

    def _from(self, instruction: Instruction) -> None:
        words = [self._expanded(word, self._global_arguments) for word in split_words(instruction.text)]
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
            raise DockerfileError(instruction.line, "FROM requires either one or three arguments")
        reference = words[0]
        if not reference:
            raise BuildError(f"base name ({instruction.text}) should not be blank")
        name = words[2].lower() if len(words) == 3 else ""
        earlier = self._stage_named(reference.lower())
        base = self._find_base(reference) if earlier is None and reference != "scratch" else None
        if earlier is not None:
            stage = _Stage(
                name,
                earlier.config,
                earlier.author,
                list(earlier.layers),
                list(earlier.history),
                Tree(dict(earlier.tree.below(""))),
                {},
            )
        elif base is not None:
            tree = Tree(dict(base.tree.below("")))
            history = list(base.config.history)
            stage = _Stage(name, base.config.container, base.config.author, list(base.layers), history, tree, {})
        else:
            # Any other base is this machine's Python, which the runtime brings.
            config = ContainerConfig(env=(DEFAULT_PATH,), cmd=("python3",) if reference != "scratch" else None)
            stage = _Stage(name, config, "", [], [], Tree(), {})
        self._stages.append(stage)

    def _stage_named(self, name: str) -> _Stage | None:
        for index, stage in enumerate(self._stages):
            if name and name in (stage.name, str(index)):
                return stage
        return None

    # Arguments

    def _global_argument(self, instruction: Instruction) -> None:
        for word in split_words(instruction.text):
            name, _, default = word.partition("=")
            self._global_arguments[name] = self._given(name, self._expanded(default, self._global_arguments))

    def _argument(self, stage: _Stage, instruction: Instruction) -> None:
        for word in split_words(instruction.text):
            name, equals, default = word.partition("=")
            if equals:
                value = self._given(name, self._expanded(default, self._variables(stage)))
            else:
                value = self._given(name, self._global_arguments.get(name, self._automatic(name)))
            stage.arguments[name] = value

    def _given(self, name: str, default: str) -> str:
        self._consumed.add(name)
        return self._options.arguments.get(name, default)

    def _automatic(self, name: str) -> str:
        return {
            "TARGETOS": self._platform.os,
            "TARGETARCH": self._platform.architecture,
            "TARGETPLATFORM": f"{self._platform.os}/{self._platform.architecture}",
        }.get(name, "")

    def _variables(self, stage: _Stage) -> dict[str, str]:
        return {**stage.arguments, **stage.config.environment}

    def _expanded(self, text: str, variables: Mapping[str, str]) -> str:
        return expand(text, variables, self._dockerfile.escape)

    # Files

    def _workdir(self, stage: _Stage, instruction: Instruction) -> None:
        path = self._expanded(instruction.text, self._variables(stage))
        path = posixpath.normpath(posixpath.join("/", stage.config.working_dir, path))
        stage.config = msgspec.structs.replace(stage.config, working_dir=path)
        if stage.tree.get(inside(path)) is None:
            self._add_layer(stage, {inside(path): DIRECTORY}, str(instruction))
        else:
            stage.history.append(History(self._created, f"/bin/sh -c #(nop)  {instruction}", empty_layer=True))

    def _copy(self, stage: _Stage, instruction: Instruction) -> None:
        unknown = set(instruction.flags) - {"chown", "chmod", "from", "link"}
        if unknown:
            raise BuildError(f"unknown flag in line {instruction.line}: --{min(unknown)}")
        variables = self._variables(stage)
        words = instruction.words or tuple(split_words(instruction.text, self._dockerfile.escape))
        paths = [self._expanded(word, variables) for word in words]
        if len(paths) < 2:
            raise DockerfileError(instruction.line, f"{instruction.keyword} requires at least two arguments")
        source = self._context
        origin = instruction.flags.get("from", "")
        if origin:
            found = self._stage_named(origin.lower()) or self._find_base(origin)
            if found is None:
                raise BuildError(f"COPY --from={origin} in line {instruction.line}: neither a stage nor an image here")
            source = found.tree
        mode = instruction.flags.get("chmod", "")
        if mode and not (mode.isdigit() and all(digit in "01234567" for digit in mode)):
            raise BuildError(f"invalid chmod parameter in line {instruction.line}: {mode!r} is not an octal number")
        changes = copy_changes(
            source,
            stage.tree,
            paths[:-1],
            paths[-1],
            working_directory=stage.config.working_dir or "/",
            mode=int(mode, 8) if mode else None,
            adds=instruction.keyword == "ADD",
        )
        self._add_layer(stage, changes, str(instruction))

    def _add_layer(self, stage: _Stage, entries: Mapping[str, Entry], created_by: str) -> None:
        changed: dict[str, Entry] = {}
        for path, entry in entries.items():
            for each in stage.tree.add(path, entry):
                found = stage.tree.get(each)
                assert found is not None
                changed[each] = found
        layer = write_layer(changed.items(), self._blobs)
        stage.layers.append(layer)
        stage.history.append(History(self._created, f"/bin/sh -c #(nop) {created_by}"))


def _creation_time(epoch: str) -> str:
    if not epoch.isdecimal():
        return EPOCH
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _short_id(config: ImageConfig) -> str:
    return digest_of(encode_config(config)).removeprefix("sha256:")[:12]
