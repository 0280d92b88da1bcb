"""WebSockets through the balancer."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable

from tests.rehearsal.balancer.balancer_parts import (
    BalancerProcess,
    Control,
    SampleProcess,
    ScriptedTarget,
    answer_health,
    forward,
    read_head,
    wait_until,
)

Start = Callable[..., SampleProcess]
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: ws.glibiz.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def masked(opcode: int, payload: bytes) -> bytes:
    mask = os.urandom(4)
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else struct.pack("!BH", 0x80 | 126, len(payload))
    return bytes((0x80 | opcode,)) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def frame(connection: socket.socket) -> tuple[int, bytes]:
    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = connection.recv(size - len(data))
            assert piece, "the connection ended"
            data += piece
        return data

    first, size = exactly(2)
    if size == 126:
        (size,) = struct.unpack("!H", exactly(2))
    return first & 0x0F, exactly(size)


def open_websocket(balancer: BalancerProcess) -> socket.socket:
    connection = balancer.connection()
    connection.connect()
    opened: socket.socket = connection.sock
    opened.sendall(UPGRADE)
    head = read_head(opened)
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    return opened


def test_echo_goes_on_while_its_target_drains(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    group = control.group("ws")
    control.listener("HTTPS", [{"hosts": ["ws.glibiz.com"], "action": forward((group, 1))}])
    old, new = start_sample("old", "websocket"), start_sample("new", "websocket")
    control.targets(group, old.target)
    control.wait_for(group, old.address, "healthy")
    client = open_websocket(balancer)
    wait_until(lambda: control.health[group, old.address]["active"] == 1, "the open WebSocket to be counted")
    control.targets(group, new.target, draining=(old.target,))
    control.wait_for(group, new.address, "healthy")
    control.wait_for(group, old.address, "draining")
    for number in range(20):
        text = f"{number}".encode() * 60
        client.sendall(masked(1, text))
        assert frame(client) == (1, text)
    assert control.state(group, old.address) == "draining"
    old.process.terminate()
    client.sendall(masked(9, b"ping"))
    assert frame(client) == (10, b"ping")
    assert frame(client) == (8, struct.pack("!H", 1001))
    client.sendall(masked(8, struct.pack("!H", 1001)))
    assert client.recv(1) == b""
    client.close()
    control.wait_for(group, old.address, "gone")
    assert old.stop() == 0
    again = open_websocket(balancer)
    again.sendall(masked(1, b"hello"))
    assert frame(again) == (1, b"hello")
    again.close()
    wait_until(lambda: control.health[group, new.address]["active"] == 0, "the count to go down")


def test_the_delay_cuts_what_does_not_end(control: Control, balancer: BalancerProcess, start_sample: Start) -> None:
    group = control.group("ws", deregistration_delay_s=10)
    control.listener("HTTPS", [{"action": forward((group, 1))}])
    old = start_sample("old", "websocket")
    control.targets(group, old.target)
    control.wait_for(group, old.address, "healthy")
    client = open_websocket(balancer)
    control.targets(group, draining=(old.target,))
    control.wait_for(group, old.address, "gone")
    assert client.recv(1) == b""
    client.close()


def test_bytes_go_both_ways_and_ends_are_passed_on(control: Control, balancer: BalancerProcess) -> None:
    """Over plain HTTP: the client ends its side, the target still answers."""
    received: list[bytes] = []

    def script(connection: socket.socket) -> None:
        head = read_head(connection)
        if answer_health(connection, head):
            return
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst"
        )
        data = b""
        while piece := connection.recv(65536):
            data += piece
        received.append(data)
        connection.sendall(b"answer" * 50_000)

    target = ScriptedTarget(script)
    group = control.group("raw")
    control.listener("HTTP", [{"action": forward((group, 1))}])
    control.targets(group, target.target)
    control.wait_for(group, target.address, "healthy")
    with balancer.raw() as client:
        client.sendall(UPGRADE + b"at once")
        client.sendall(b"x" * 1_000_000)
        client.shutdown(socket.SHUT_WR)
        stream = client.makefile("rb").read()
    assert stream.partition(b"\r\n\r\n")[2] == b"first" + b"answer" * 50_000
    assert received == [b"at once" + b"x" * 1_000_000]
    target.close()


def test_a_refused_upgrade_is_an_ordinary_answer(
    control: Control, balancer: BalancerProcess, start_sample: Start
) -> None:
    group = control.group("api")
    control.listener("HTTP", [{"action": forward((group, 1))}])
    api = start_sample("1")
    control.targets(group, api.target)
    control.wait_for(group, api.address, "healthy")
    with balancer.raw() as client:
        client.sendall(UPGRADE)
        assert read_head(client).startswith(b"HTTP/1.1 200 OK\r\n")
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"HTTP/1.1 200 OK" in client.makefile("rb").read()


def test_an_idle_tunnel_ends() -> None:
    from gli_tasks.rehearsal.balancer.tunnel import tunnel

    async def run() -> float:
        loop = asyncio.get_running_loop()
        ends = [socket.socketpair() for _ in range(2)]
        streams = [await asyncio.open_connection(sock=near) for near, _ in ends]
        began = loop.time()
        await tunnel(streams[0], streams[1], 0.2)
        for (_, writer), (_, far) in zip(streams, ends, strict=True):
            writer.close()
            far.close()
        return loop.time() - began

    assert 0.19 < asyncio.run(run()) < 2
