"""A client's connection, request after request: route each, answer or have it carried to a target."""

from __future__ import annotations

import asyncio
import hashlib
import time
import traceback
from email.utils import formatdate
from random import Random

from gli_tasks.rehearsal.balancer import plan
from gli_tasks.rehearsal.balancer.client import Client, ClientGone
from gli_tasks.rehearsal.balancer.exchange import Exchange, NoAnswer, Route
from gli_tasks.rehearsal.balancer.fleet import Fleet
from gli_tasks.rehearsal.balancer.message import (
    Forwarded,
    Framing,
    MalformedMessage,
    RequestHead,
    error_page,
    own_response,
    parse_request,
    tokens_of,
    values_of,
)
from gli_tasks.rehearsal.balancer.metrics import Meter
from gli_tasks.rehearsal.balancer.sites import Sites
from gli_tasks.rehearsal.balancer.stream import CutOff, read_head
from gli_tasks.rehearsal.balancer.topology import FixedResponse, Forward, Listener, Redirect

TOPOLOGY_WAIT_S = 5.0
STICKINESS_COOKIE = "AWSALBTG"
_REFUSED_METHODS = (b"TRACE", b"CONNECT")
_ERROR_PAGES = {status: error_page(status) for status in (400, 405, 408, 502, 503, 504)}


class Balancer:
    """What all connections share."""

    def __init__(
        self, fleet: Fleet, exchange: Exchange, sites: Sites, meter: Meter, random: Random, idle_s: float
    ) -> None:
        """Take the parts; ``idle_s`` is ALB's idle timeout."""
        self.fleet, self.exchange, self.sites, self.meter = fleet, exchange, sites, meter
        self.random, self.idle_s = random, idle_s
        self.stopping = False
        self._waiting: set[Client] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, client: Client) -> None:
        """Serve a connection until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while await self._serve_one(client) and not self.stopping:
                pass
        except (ClientGone, CutOff, OSError, asyncio.CancelledError):
            client.abort()  # cancelled only by stop(), which waits; the task ends here in any case
        except Exception:  # noqa: BLE001 - the outermost edge: one connection must not end in silence
            traceback.print_exc()
            client.abort()
        finally:
            self._waiting.discard(client)
            self._serving.discard(task)
            await client.close()

    async def stop(self, within_s: float) -> None:
        """Let the requests in flight end, for ``within_s`` seconds; then end all connections."""
        self.stopping = True
        for client in tuple(self._waiting):
            client.abort()
        if self._serving:
            await asyncio.wait(self._serving, timeout=within_s)
        for task in tuple(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve_one(self, client: Client) -> bool:
        """Serve one request; return whether another may follow."""
        self._waiting.add(client)
        try:
            async with asyncio.timeout(self.idle_s):
                raw = await read_head(client.reader)
        except MalformedMessage:
            return await self._refuse(client, 400)
        finally:
            self._waiting.discard(client)
        if not raw:
            return False
        try:
            request = parse_request(raw)
            framing = request.framing()
        except MalformedMessage:
            return await self._refuse(client, 400)
        if request.method in _REFUSED_METHODS:
            return await self._refuse(client, 405)
        if not self.fleet.known.is_set():
            try:
                async with asyncio.timeout(TOPOLOGY_WAIT_S):
                    await self.fleet.known.wait()
            except TimeoutError:
                return await self._refuse(client, 503)
        return await self._route(client, request, framing)

    async def _route(self, client: Client, request: RequestHead, framing: Framing) -> bool:
        topology = self.fleet.topology
        host = plan.host_of(request.host)
        for site in topology.sites:
            if site.host.lower() == host:
                if request.method not in (b"GET", b"HEAD"):
                    return await self._own(client, request, framing, 405)
                page = await self.sites.get(site, request.path)
                return await self._own(client, request, framing, page.status, page.body, more=page.headers)
        listener = plan.find_listener(topology, client.protocol, host)
        rule = plan.find_rule(listener, host, request.path) if listener else None
        if listener is None or rule is None:
            return await self._own(client, request, framing, 503, _ERROR_PAGES[503])
        action = rule.action
        if isinstance(action, FixedResponse):
            return await self._own(
                client, request, framing, action.status, action.body.encode(), content_type=action.content_type
            )
        if isinstance(action, Redirect):
            return await self._redirect(client, request, framing, listener, action, host)
        return await self._forward(client, request, framing, listener, action)

    async def _redirect(
        self, client: Client, request: RequestHead, framing: Framing, listener: Listener, action: Redirect, host: str
    ) -> bool:
        location = plan.redirect_location(
            action, protocol=client.protocol, host=host, port=listener.port, path=request.path, query=request.query
        )
        return await self._own(
            client, request, framing, action.status, b"", more=((b"Location", location.encode("latin-1", "replace")),)
        )

    async def _forward(
        self, client: Client, request: RequestHead, framing: Framing, listener: Listener, action: Forward
    ) -> bool:
        group, cookies = self._choose_group(request, action)
        target = self.fleet.pick(group) if group is not None else None
        if group is None or target is None:
            self.meter.failed(listener.load_balancer, group or "", 503)
            return await self._own(client, request, framing, 503, _ERROR_PAGES[503])
        now = int(time.time())
        trace = f"1-{now:08x}-{self.random.getrandbits(96):024x}"
        forwarded = Forwarded(client.address, client.protocol, listener.port, trace)
        try:
            return await self.exchange.carry(
                client, request, framing, Route(listener.load_balancer, target, forwarded, cookies)
            )
        except NoAnswer as error:
            if client.gone:
                raise ClientGone from error
            self.meter.failed(listener.load_balancer, group, error.status)
            return await self._own(client, request, framing, error.status, _ERROR_PAGES[error.status])
        except ClientGone:
            self.meter.failed(listener.load_balancer, group, 460)
            raise

    def _choose_group(
        self, request: RequestHead, action: Forward
    ) -> tuple[str | None, tuple[tuple[bytes, bytes], ...]]:
        """Return the target group, by the client's cookie or by the weights, and the cookie to set."""
        if not action.stickiness_s:
            return plan.choose_group(action.targets, self.random.random()), ()
        now = time.time()
        for cookie in values_of(request.headers, b"cookie"):
            for part in cookie.decode("latin-1").split(";"):
                name, _, value = part.strip().partition("=")
                mark, _, until = value.partition(".")
                if name == STICKINESS_COOKIE and until.isdigit() and int(until) > now * 1000:
                    for choice in action.targets:
                        if _mark(choice.target_group) == mark and plan.may_stick(action, choice.target_group):
                            return choice.target_group, ()
        group = plan.choose_group(action.targets, self.random.random())
        if group is None:
            return None, ()
        scaled_s = action.stickiness_s * self.fleet.topology.time_scale
        value = f"{_mark(group)}.{int((now + scaled_s) * 1000)}"
        cookie_text = f"{STICKINESS_COOKIE}={value}; Max-Age={max(1, round(scaled_s))}; Path=/"
        return group, ((b"Set-Cookie", cookie_text.encode()),)

    async def _own(
        self,
        client: Client,
        request: RequestHead,
        framing: Framing,
        status: int,
        body: bytes = b"",
        *,
        content_type: str = "text/html",
        more: tuple[tuple[bytes, bytes], ...] = (),
    ) -> bool:
        """Answer without a target; return whether another request may follow."""
        # a body that nobody has read stands before the next request
        stays = request.keep_alive and framing.empty and not self.stopping
        if any(name.lower() == b"content-type" for name, _ in more):
            content_type = values_of(more, b"content-type")[0].decode("latin-1")
            more = tuple(pair for pair in more if pair[0].lower() != b"content-type")
        await client.send(
            own_response(
                status,
                body,
                date=formatdate(usegmt=True),
                keep_alive=stays,
                content_type=content_type,
                more=more,
                with_body=request.method != b"HEAD",
            )
        )
        if not stays and (not framing.empty or b"100-continue" in tokens_of(request.headers, b"expect")):
            await client.linger()
        return stays

    async def _refuse(self, client: Client, status: int) -> bool:
        """Answer what is no request, and end the connection."""
        page = _ERROR_PAGES[status]
        await client.send(own_response(status, page, date=formatdate(usegmt=True), keep_alive=False))
        await client.linger()
        return False


def _mark(target_group: str) -> str:
    return hashlib.sha256(target_group.encode()).hexdigest()[:16]
