"""One request to one target and its answer back to the client."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gli_tasks.rehearsal.balancer.client import Client, ClientGone
from gli_tasks.rehearsal.balancer.fleet import Fleet, TargetRecord
from gli_tasks.rehearsal.balancer.message import (
    CHUNKED,
    IDEMPOTENT,
    UNTIL_CLOSE,
    BodyKind,
    Forwarded,
    Framing,
    MalformedMessage,
    RequestHead,
    ResponseHead,
    render,
    request_for_target,
    response_for_client,
)
from gli_tasks.rehearsal.balancer.metrics import Meter
from gli_tasks.rehearsal.balancer.stream import CutOff, encode, end_of, flush, read_body
from gli_tasks.rehearsal.balancer.tunnel import tunnel
from gli_tasks.rehearsal.balancer.upstream import (
    Connection,
    ConnectRefused,
    ConnectTimeout,
    Pool,
    connect,
    read_response,
)

CONNECT_TIMEOUT_S = 10.0  # ALB's


class NoAnswer(Exception):
    """The target gave no usable answer; the client is to be told ``status``."""

    def __init__(self, status: int) -> None:
        """Hold 502 or 504."""
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, under which names it is counted, and what is added to the answer."""

    load_balancer: str
    target: TargetRecord
    forwarded: Forwarded
    more: tuple[tuple[bytes, bytes], ...] = ()


class Exchange:
    """Carries requests to targets."""

    def __init__(self, fleet: Fleet, pool: Pool, meter: Meter, idle_s: float) -> None:
        """Share the parts; ``idle_s`` is how long either side may be silent."""
        self._fleet, self._pool, self._meter, self._idle_s = fleet, pool, meter, idle_s

    async def carry(self, client: Client, request: RequestHead, framing: Framing, route: Route) -> bool:
        """Carry one request; return whether the client's connection can be used again.

        Raises NoAnswer while the client has got nothing yet, and ClientGone.
        """
        target = route.target
        self._meter.window(route.load_balancer, target.key.target_group).requests += 1
        self._fleet.begin(target)
        try:
            return await self._carry(client, request, framing, route)
        except MalformedMessage as error:
            raise NoAnswer(502) from error
        finally:
            self._fleet.end(target)
            client.when_lost(None)

    async def _carry(self, client: Client, request: RequestHead, framing: Framing, route: Route) -> bool:
        key = route.target.key
        repeatable = request.method in IDEMPOTENT and framing.empty and not request.upgrades_to_websocket
        connection = None
        if repeatable:
            connection = self._pool.take(key.address, key.port, asyncio.get_running_loop().time())
        if connection is not None:
            try:
                return await self._on(connection, client, request, framing, route)
            except _Stale:
                # the target closed the idle connection just as we sent; asking again is safe, as nothing but an
                # idempotent request without a body goes over a used connection
                connection = None
        connection = await self._connect(route)
        try:
            return await self._on(connection, client, request, framing, route)
        except _Stale as error:
            raise NoAnswer(502) from error

    async def _connect(self, route: Route) -> Connection:
        key = route.target.key
        try:
            return await connect(key.address, key.port, CONNECT_TIMEOUT_S)
        except (ConnectRefused, ConnectTimeout) as error:
            self._meter.window(route.load_balancer, key.target_group).target_connection_errors += 1
            raise NoAnswer(504 if isinstance(error, ConnectTimeout) else 502) from error

    async def _on(
        self, connection: Connection, client: Client, request: RequestHead, framing: Framing, route: Route
    ) -> bool:
        """Make the exchange on one connection. Raises _Stale when it ended before an answer began."""
        target = route.target
        target.in_flight.add(connection)
        client.when_lost(connection.abort)
        if client.gone:
            connection.abort()
            target.in_flight.discard(connection)
            raise ClientGone
        upload: asyncio.Task[bool] | None = None
        keep = False
        began = asyncio.get_running_loop().time()
        try:
            connection.writer.write(request_for_target(request, framing, route.forwarded))
            if not framing.empty:
                upload = asyncio.create_task(self._upload(client, connection, framing))
            head = await self._answer(connection, client, upload)
            seconds = asyncio.get_running_loop().time() - began
            self._meter.answered(route.load_balancer, target.key.target_group, head.status, seconds)
            if head.status == 101:
                await self._switch(connection, client, request, head)
                return False
            uploaded = upload is None or (upload.done() and not upload.cancelled() and upload.result())
            body = head.framing(request.method)
            client_stays = await self._download(connection, client, request, head, body, route, uploaded)
            keep = uploaded and head.keep_alive and body.kind is not BodyKind.UNTIL_CLOSE
            return client_stays
        finally:
            target.in_flight.discard(connection)
            if upload is not None and not upload.done():
                upload.cancel()
            if upload is not None:
                await asyncio.gather(upload, return_exceptions=True)
            if keep and target.draining_since_s is None:
                self._pool.give(target.key.address, target.key.port, connection, asyncio.get_running_loop().time())
            elif keep:
                connection.writer.close()
            else:
                connection.abort()

    async def _upload(self, client: Client, connection: Connection, framing: Framing) -> bool:
        """Send the client's body to the target; return whether all of it went."""
        try:
            async for piece in read_body(client.reader, framing, self._idle_s):
                connection.writer.write(encode(piece, framing))
                try:
                    await flush(connection.writer, self._idle_s)
                except CutOff:
                    return False  # the target may have answered before the end; what it said decides
            connection.writer.write(end_of(framing))
            return True
        except (CutOff, MalformedMessage):
            client.abort()
            connection.abort()
            return False

    async def _answer(self, connection: Connection, client: Client, upload: asyncio.Task[bool] | None) -> ResponseHead:
        """Wait for the head of the final answer; interim ones are passed on."""
        while True:
            reading = asyncio.ensure_future(read_response(connection, 1e9)) if upload is not None else None
            try:
                if reading is not None and upload is not None and not upload.done():
                    await asyncio.wait({reading, upload}, return_when=asyncio.FIRST_COMPLETED)
                if reading is not None:
                    head = await asyncio.wait_for(reading, self._idle_s)
                else:
                    head = await read_response(connection, self._idle_s)
            except TimeoutError as error:
                raise NoAnswer(504) from error
            except CutOff as error:
                if client.gone:
                    raise ClientGone from error
                raise _Stale from error
            finally:
                if reading is not None and not reading.done():
                    reading.cancel()
            if head.status >= 200 or head.status == 101:
                return head
            await client.send(render(b"HTTP/1.1 %d %b" % (head.status, head.reason), head.headers))

    async def _download(
        self,
        connection: Connection,
        client: Client,
        request: RequestHead,
        head: ResponseHead,
        body: Framing,
        route: Route,
        uploaded: bool,
    ) -> bool:
        """Send the target's answer to the client; return whether the client's connection can be used again."""
        sent_as = body
        if body.kind is not BodyKind.LENGTH:
            sent_as = CHUNKED if request.minor_version == 1 else UNTIL_CLOSE
        stays = request.keep_alive and uploaded and sent_as.kind is not BodyKind.UNTIL_CLOSE
        waiting = response_for_client(head, request.method, sent_as, keep_alive=stays, more=route.more)
        try:
            async for piece in read_body(connection.reader, body, self._idle_s):
                # the head leaves with the first piece: one packet, one TLS record
                await client.send(waiting + encode(piece, sent_as))
                waiting = b""
        except (CutOff, MalformedMessage) as error:
            # the status has been promised: all that is left is to let the client see that the rest is missing
            client.abort()
            raise ClientGone from error
        end = waiting + (end_of(sent_as) if not body.empty else b"")
        if end:
            await client.send(end)
        return stays

    async def _switch(self, connection: Connection, client: Client, request: RequestHead, head: ResponseHead) -> None:
        """Make the connection a tunnel (RFC 6455)."""
        if not request.upgrades_to_websocket:
            raise NoAnswer(502)
        fields = [(key, value) for key, value in head.headers if key.lower() not in (b"connection", b"upgrade")]
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        await client.send(render(b"HTTP/1.1 101 %b" % (head.reason or b"Switching Protocols"), fields))
        await tunnel((client.reader, client.writer), (connection.reader, connection.writer), self._idle_s)


class _Stale(Exception):
    """The connection ended before an answer began."""
