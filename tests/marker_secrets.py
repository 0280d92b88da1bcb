"""A pytest plugin: a secret that is marked as one shows up nowhere in the whole suite.

Every secret of the twin begins with the same prefix, and so does what ``draw`` gives to a test; no list of them is
needed to know one. A few that tests write out are known by name. A test fails where its captured output or log, what
it read by ``capsys``, what it noted by ``look_into``, or its error holds a marker. The session fails, naming test and
argv, where a program of it was started with one: what this process starts is seen each time, by an audit hook, and
what those start in turn is looked for in ``/proc`` twenty times a second.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gli_tasks.rehearsal import drawn_secrets

_LOOK_S = 0.05
#: Another prefix, so that what a test plants in a session of its own is no leak of the session around it.
PREFIX_VARIABLE = "GLI_MARKER_PREFIX"
#: What every program of the suite is given, as an operator's shell may hold it: who prints its environment is caught.
VARIABLES = ("DEPLOY_PASSWORD", "RELEASE_TOKEN")
#: The secrets that tests write out by themselves.
WRITTEN_OUT = ("hunter2", "s3cr3t-value")
_SHOWN = 60


def _in_base64(prefix: bytes) -> Iterator[bytes]:
    """Yield how a text that holds the prefix looks in base64, for each of the three places where it may begin."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + prefix)
        first, last = -(-8 * before // 6), 8 * (before + len(prefix)) // 6
        yield text[first:last]


def pattern(prefix: str) -> re.Pattern[bytes]:
    """Return what finds a marker, plain or in base64, and the secrets that tests write out."""
    plain = re.escape(prefix).encode() + rb"[0-9a-f]{8,}"
    coded = (re.escape(one) + rb"[A-Za-z0-9+/_-]{8,}" for one in _in_base64(prefix.encode()))
    written_out = (one.encode() for one in WRITTEN_OUT)
    return re.compile(b"|".join((plain, *coded, *written_out)))


MARKER = pattern(os.environ.get(PREFIX_VARIABLE, drawn_secrets.PREFIX))


def draw() -> str:
    """Return a new marker, for a test to use as a secret."""
    drawn = drawn_secrets.draw()
    return os.environ.get(PREFIX_VARIABLE, drawn_secrets.PREFIX) + drawn.removeprefix(drawn_secrets.PREFIX)


def leaks(where: str, text: str | bytes) -> list[str]:
    """Return a sentence for each marker that a text holds, with what stands around it."""
    data = text.encode(errors="replace") if isinstance(text, str) else text
    return [f"{where}: …{_around(data, *found.span())}…" for found in MARKER.finditer(data)]


def _around(data: bytes, start: int, end: int) -> str:
    # The marker itself is left out: one leak is enough, and these words may be noted as well.
    before, after = data[max(0, start - _SHOWN) : start], data[end : end + _SHOWN]
    shown = before + b"<marker>" + MARKER.sub(b"<marker>", after)
    return MARKER.sub(b"<marker>", shown).decode(errors="replace").replace("\n", "⏎").replace("\0", " ")


@dataclass(frozen=True, slots=True)
class Started:
    """A program that was started with a marker in its argv, and the test that ran when it was seen."""

    test: str
    argv: str

    def __str__(self) -> str:
        return f"while {self.test}: {self.argv}"


class ArgvWatch:
    """Watches the argv of every program that descends from a process: an exact eye and one in ``/proc``."""

    def __init__(self, root: int, every_s: float = _LOOK_S) -> None:
        self.test = "no test"
        #: What marks the environment of a program that belongs here, though its parent is gone.
        self.mark = b""
        self.looks = 0
        self._every_s = every_s
        self._family = {root}
        self._strangers: set[int] = set()
        self._found: dict[str, Started] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="argv watch", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join(10)

    @property
    def found(self) -> tuple[Started, ...]:
        """Return what was found."""
        return tuple(self._found.values())

    def see(self, argv: Iterable[object]) -> None:
        """Look at one argv."""
        words = [one if isinstance(one, bytes) else os.fsencode(str(one)) for one in argv]
        for sentence in leaks("argv", b"\0".join(words)):
            self._found.setdefault(sentence, Started(self.test, sentence))

    def look(self) -> None:
        """Look once at every process that belongs here."""
        self.looks += 1
        here = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self._family &= here
        self._strangers &= here
        new = sorted(here - self._family - self._strangers)
        # A process of a lower number may be the child of one with a higher, once the numbers began again.
        for pid in (*new, *new):
            if pid in self._family:
                continue
            if _parent(pid) in self._family or self._is_marked(pid):
                self._family.add(pid)
                self._strangers.discard(pid)
            else:
                self._strangers.add(pid)
        for pid in self._family:
            # Each time, since what a process is may change by exec.
            self.see(_read(pid, "cmdline").rstrip(b"\0").split(b"\0"))

    def _is_marked(self, pid: int) -> bool:
        return bool(self.mark) and self.mark in _read(pid, "environ")

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            self.look()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""  # it ended meanwhile


def _parent(pid: int) -> int:
    """Return the parent's number; 0 for a process that ended meanwhile."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def started_by(event: str, arguments: tuple[Any, ...]) -> list[object]:
    """Return the argv that an audit event tells of; empty for one that starts nothing."""
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
        argv = arguments[1]
        return [arguments[0], *([argv] if isinstance(argv, str | bytes | os.PathLike) else argv or ())]
    return [arguments[0]] if event == "os.system" else []


class MarkerSecrets:
    """The plugin: fails tests that show a marker, and the session whose programs were started with one."""

    def __init__(self) -> None:
        self.watch = ArgvWatch(os.getpid())
        self.noted: list[str] = []
        self._variables = pytest.MonkeyPatch()
        self._over = False

    def note(self, where: str, text: str | bytes) -> None:
        """Let the test that runs fail where the text holds a marker."""
        self.noted += leaks(where, text)

    @pytest.hookimpl
    def pytest_sessionstart(self) -> None:
        for name in VARIABLES:
            self._variables.setenv(name, draw())
        self.watch.mark = os.fsencode(os.environ[VARIABLES[0]])
        sys.addaudithook(self._hear)
        self.watch.start()

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        # An audit hook cannot be taken away, so it is told when to sleep.
        if not self._over and (argv := started_by(event, arguments)):
            self.watch.see(argv)

    @pytest.hookimpl
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.watch.test = nodeid

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report: pytest.TestReport = yield
        noted, self.noted = self.noted, []
        for name, text in report.sections:
            # A report repeats what the phases before it printed.
            if name.endswith(f" {report.when}"):
                noted += leaks(name, text)
        if call.excinfo is not None:
            noted += leaks("the error's text", f"{call.excinfo.value}")
            if report.failed:
                noted += leaks("the error as pytest shows it", report.longreprtext)
        if noted:
            said = "a marked secret was seen:\n" + "\n".join(dict.fromkeys(noted))
            report.outcome = "failed"
            report.longrepr = said
            report.sections = [
                (name, MARKER.sub(b"<marker>", text.encode(errors="replace")).decode())
                for name, text in report.sections
            ]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.watch.look()
        self.watch.stop()
        self._over = True
        self._variables.undo()
        if self.watch.found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.watch.found:
            terminalreporter.section("programs started with a marked secret in their argv", red=True)
            for one in self.watch.found:
                terminalreporter.line(str(one), red=True)


_KEY = pytest.StashKey[MarkerSecrets]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin for this session."""
    plugin = MarkerSecrets()
    config.stash[_KEY] = plugin
    config.pluginmanager.register(plugin, "marker secrets")


@pytest.fixture(scope="session")
def argv_watch(request: pytest.FixtureRequest) -> ArgvWatch:
    """Return the eye on this session's programs."""
    return request.config.stash[_KEY].watch


class Noting:
    """Stands in front of ``capsys`` or ``capfd``: what a test reads is looked at too, since pytest then forgets it."""

    def __init__(self, capture: pytest.CaptureFixture[Any], plugin: MarkerSecrets) -> None:
        self._capture = capture
        self._plugin = plugin

    def readouterr(self) -> Any:
        """Return what was printed since it was last asked."""
        seen = self._capture.readouterr()
        self._plugin.note("what the test read of standard output", seen.out)
        self._plugin.note("what the test read of standard error", seen.err)
        return seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capture, name)


@pytest.fixture
def capsys(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Noting:
    """Return pytest's own, watched."""
    return Noting(capsys, request.config.stash[_KEY])


@pytest.fixture
def capfd(capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Noting:
    """Return pytest's own, watched."""
    return Noting(capfd, request.config.stash[_KEY])


def look_into(texts: Mapping[str, str | bytes]) -> None:
    """Fail where one of the texts, each by what it is, holds a marker."""
    found = [sentence for where, text in texts.items() for sentence in leaks(where, text)]
    assert not found, "a marked secret was seen:\n" + "\n".join(found)
