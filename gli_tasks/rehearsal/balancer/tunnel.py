"""Carry bytes both ways once a connection has become a WebSocket."""

from __future__ import annotations

import asyncio

from gli_tasks.rehearsal.balancer.stream import PIECE


async def tunnel(
    left: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    right: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    idle_s: float,
) -> None:
    """Copy until both sides have ended, or nothing moved for ``idle_s`` seconds.

    An end is passed on as an end, so that the other direction goes on; over TLS, where a half-closed connection
    does not exist in asyncio, it ends both.
    """
    loop = asyncio.get_running_loop()
    last = loop.time()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether the writer's side can still answer."""
        nonlocal last
        try:
            while data := await reader.read(PIECE):
                last = loop.time()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
                return True
        except OSError:
            return False
        return False

    running = {asyncio.create_task(copy(left[0], right[1])), asyncio.create_task(copy(right[0], left[1]))}
    try:
        while running:
            done, running = await asyncio.wait(
                running, timeout=max(last + idle_s - loop.time(), 0.01), return_when=asyncio.FIRST_COMPLETED
            )
            if not all(task.result() for task in done) or (not done and loop.time() - last >= idle_s):
                return
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
