"""The handbook and the README: what they tell an operator to type is there, in both languages alike."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from invoke import Collection, FilesystemLoader, ParseError
from invoke.parser import Parser, ParserContext
from invoke.program import Program

from gli_tasks import errors
from tests.floor_parts import REPOSITORY

HANDBOOKS = ("docs/handbook.md", "docs/handbook.ko.md")
READMES = ("README.md", "README.ko.md")
PAGES = (*HANDBOOKS, *READMES)

_BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(?P<text>[^`\n]+)`")
_SECTION = re.compile(r'^<a id="(?P<anchor>[a-z0-9-]+)"></a>\n\n?(?P<level>#+) ', re.MULTILINE)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
# What begins at `invoke` where a command may begin: not in a path, a word or a sentence.
_INVOKE = re.compile(r"(?:^|(?<=[\s`(;&|]))(?:\.venv/bin/)?invoke(?= )")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page: the line it stands in, and its words after ``invoke``."""

    line: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meant:
    """What Invoke takes a command for: its tasks with the flags that were given, and Invoke's own flags."""

    tasks: tuple[tuple[str, tuple[str, ...]], ...]
    own: tuple[str, ...]


def page(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def commands(text: str) -> Iterator[Command]:
    """Yield every `invoke ...` of a page's code, in blocks and in backticks."""
    for block in _BLOCK.finditer(text):
        # A command may go on in the next line.
        for line in block["text"].replace("\\\n", " ").splitlines():
            yield from _commands_of(line)
    for span in _SPAN.finditer(_BLOCK.sub("", text)):
        yield from _commands_of(span["text"])


def _commands_of(line: str) -> Iterator[Command]:
    for found in _INVOKE.finditer(line):
        rest = line[found.end() :]
        before = line[: found.start()]
        if before.endswith("$("):
            rest = rest.partition(")")[0]
        elif before.endswith("`"):
            rest = rest.partition("`")[0]
        words = shlex.shlex(rest, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        taken = []
        for word in words:
            if set(word) <= set("();<>|&"):
                break
            # `2>` comes as the words 2 and >: a file's number is none of ours.
            taken.append(word)
        if taken and taken[-1] == "2" and "2>" in rest:
            taken.pop()
        yield Command(line.strip(), tuple(taken))


@cache
def namespace() -> Collection:
    module, _ = FilesystemLoader(start=str(REPOSITORY)).load("tasks")
    found: Collection = module.namespace
    return found


@cache
def contexts() -> tuple[ParserContext, ...]:
    made = []
    for name, aliases in namespace().task_names.items():
        # Of copies, since invoke takes the help texts out of a task as it hands its arguments over.
        task = copy.copy(namespace()[name])
        task.help = dict(task.help)
        made.append(ParserContext(name=name, aliases=aliases, args=task.get_arguments(ignore_unknown_help=True)))
    return tuple(made)


def meant(command: Command) -> Meant:
    """Return what Invoke's own parser takes a command for. Raises its ParseError for what is not there."""
    program = Program()
    own = ParserContext(args=program.core_args() + program.task_args())
    core = Parser(initial=own, ignore_unknown=True).parse_argv(list(command.words))
    flags = tuple(sorted(name for name, one in core[0].args.items() if one.got_value or one.value is True))
    asked = core[0].args["help"].value
    assert not isinstance(asked, str) or asked in (*namespace().task_names, "TASK"), f"no task {asked!r} to help with"
    parsed = Parser(initial=own, contexts=contexts()).parse_argv(list(core.unparsed))
    tasks = [one for one in parsed if one.name]
    assert not parsed.remainder
    return Meant(
        tuple((one.name, tuple(sorted(name for name, flag in one.args.items() if _is_given(flag)))) for one in tasks),
        flags,
    )


def _is_given(flag: object) -> bool:
    return bool(getattr(flag, "got_value", False)) or getattr(flag, "value", None) is True


def sections(text: str) -> list[tuple[str, str, str]]:
    """Return a page's sections: the depth of the heading, its anchor, and what stands below it."""
    found = list(_SECTION.finditer(text))
    ends = [*(one.start() for one in found[1:]), len(text)]
    return [(one["level"], one["anchor"], text[one.start() : end]) for one, end in zip(found, ends, strict=True)]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_is_one_that_invoke_takes(name: str) -> None:
    found = list(commands(page(name)))
    assert len(found) > 5
    wrong = []
    for command in found:
        try:
            assert meant(command).tasks or meant(command).own
        except (ParseError, AssertionError, ValueError) as error:
            wrong.append(f"{command.line}: {error}")
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("invoke release.pord", "No idea what 'release.pord' is"),
        ("$ invoke release.prod --yse", "No idea what '--yse' is"),
        ("invoke ecs.logs -e prod --count 3 | grep x", "No idea what '--count' is"),
        ("answer=$(invoke release.status --env prod --jsn)", "No idea what '--jsn' is"),
        ("invoke release.rollback --to", "needed value and was not given one"),
    ],
)
def test_a_command_that_is_not_there_is_noticed(line: str, complaint: str) -> None:
    (command,) = commands(f"```console\n{line}\n```\n")
    with pytest.raises(ParseError, match=complaint):
        meant(command)


def test_commands_are_found_where_a_page_may_have_them() -> None:
    text = (
        "Type `invoke release.status -e prod` or `.venv/bin/invoke rehearse`; never say invoke that.\n"
        "```bash\n"
        "$ invoke release.plan -e prod --json 2> /dev/null | jq '.steps[] | .name'   # a comment\n"
        'eval "$(invoke --print-completion-script bash)"\n'
        "invoke release.abort -e prod \\\n"
        '    --reason "not wanted; really" --yes && invoke release.status\n'
        "```\n"
    )
    assert [one.words for one in commands(text)] == [
        ("release.plan", "-e", "prod", "--json"),
        ("--print-completion-script", "bash"),
        ("release.abort", "-e", "prod", "--reason", "not wanted; really", "--yes"),
        ("release.status",),
        ("release.status", "-e", "prod"),
        ("rehearse",),
    ]


def test_both_languages_have_the_same_sections() -> None:
    english, korean = (sections(page(name)) for name in HANDBOOKS)
    assert [one[:2] for one in english] == [one[:2] for one in korean]
    assert len({anchor for _, anchor, _ in english}) == len(english)


@pytest.mark.parametrize("name", HANDBOOKS)
def test_every_heading_has_an_anchor_of_its_own(name: str) -> None:
    text = _BLOCK.sub("", page(name))
    headings = re.findall(r"^##+ ", text, re.MULTILINE)
    assert len(headings) == len(sections(text))


def test_both_languages_name_the_same_commands_in_each_section() -> None:
    english, korean = (
        {anchor: [meant(one) for one in commands(text)] for _, anchor, text in sections(page(name))}
        for name in HANDBOOKS
    )
    assert english == korean


def test_both_languages_of_the_readme_name_the_same_commands() -> None:
    english, korean = (sorted(map(repr, (meant(one) for one in commands(page(name))))) for name in READMES)
    assert english == korean


@pytest.mark.parametrize("name", HANDBOOKS)
def test_every_task_is_in_the_handbook(name: str) -> None:
    text = page(name)
    # A task that has a shorter name is known by that: `rehearse` is `rehearse.run`.
    unknown = [task for task, aliases in namespace().task_names.items() if not _is_named(text, (task, *aliases))]
    assert unknown == []


def _is_named(text: str, names: Sequence[str]) -> bool:
    return any(re.search(rf"{re.escape(name)}\b", text) for name in names)


def exit_codes() -> set[int]:
    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.GliError)]
    return {0, *(one.exit_code for one in classes)}


@pytest.mark.parametrize("name", HANDBOOKS)
def test_every_exit_code_has_a_section_with_three_commands_to_begin_with(name: str) -> None:
    found = {anchor: text for _, anchor, text in sections(page(name)) if re.fullmatch(r"exit-\d+", anchor)}
    assert set(found) == {f"exit-{code}" for code in exit_codes()}
    assert {anchor: len(list(commands("".join(blocks(text))))) for anchor, text in found.items()} == dict.fromkeys(
        found, 3
    )


def blocks(text: str) -> list[str]:
    return [one[0] for one in _BLOCK.finditer(text)]


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_the_repository_leads_somewhere(name: str) -> None:
    here = REPOSITORY / name
    broken = []
    for found in _LINK.finditer(_BLOCK.sub("", page(name))):
        target, _, anchor = found["target"].partition("#")
        if "://" in target:
            continue
        place: Path = (here.parent / target).resolve() if target else here
        known = place.exists() and (not anchor or f'<a id="{anchor}"></a>' in place.read_text(encoding="utf-8"))
        if not known:
            broken.append(found["target"])
    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_is_there(name: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    code = "\n".join(blocks(page(name)))
    assert set(re.findall(r"(?:^|\$ |run: |- )make ([a-z]+)", code, re.MULTILINE)) <= targets
