"""What the twin and its starter say to each other; light, since the starter needs none of the twin's parts."""

from __future__ import annotations

from dataclasses import dataclass

#: The starter's last word, if the twin is to outlive it.
STAY = "stay\n"


@dataclass(frozen=True, slots=True)
class Ready:
    """Where everything is. Addresses are ``host:port``; ``endpoint`` and ``door`` are URLs of the same AWS, and faults
    can be put into the door.
    """

    endpoint: str
    door: str
    registry: str
    docker_host: str
    http: str
    https: str
    authority: str
    cache: str
    engine: str
    base_image: str
    pid: int
