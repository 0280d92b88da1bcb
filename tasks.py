"""The root of all tasks: which collections exist. `invoke --list` shows them."""

import sys
from pathlib import Path

from invoke import Collection

# Invoke forbids Python to keep what it compiled, and would so compile this tool anew for every command.
sys.dont_write_bytecode = False

from gli_tasks.build import tasks as build
from gli_tasks.config import tasks as config
from gli_tasks.ecs import tasks as ecs
from gli_tasks.git import tasks as git
from gli_tasks.health import tasks as health
from gli_tasks.image import tasks as image
from gli_tasks.notify import tasks as notify
from gli_tasks.rehearsal import tasks as rehearsal
from gli_tasks.release import tasks as release

namespace = Collection()
for name, room in {
    "build": build,
    "config": config,
    "ecs": ecs,
    "git": git,
    "health": health,
    "image": image,
    "notify": notify,
}.items():
    namespace.add_collection(Collection.from_module(room), name=name)
namespace.add_collection(release.collection(Path(__file__).parent / "env"), name="release")
namespace.add_collection(rehearsal.collection(), name="rehearse")
