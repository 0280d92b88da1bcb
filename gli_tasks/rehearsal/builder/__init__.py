"""A stand-in for a Docker engine's builder, for machines without an engine.

Speaks the part of the Docker Engine API that builds, tags, lists and pushes images. It runs no commands: an image is
what COPY and ADD put into it, on top of "this machine's Python".

``gli_tasks.image.dockerfile`` reads; ``tree`` holds what may be copied, ``recipe`` turns instructions into layers and a
configuration, ``layer`` and ``images`` keep them, ``push`` sends them, ``engine`` is the API.
"""
