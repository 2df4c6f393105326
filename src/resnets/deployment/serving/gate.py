"""Who may ask the server for what: decided before gradio, or anything else, sees a request.

A page in any browser tab may send requests to an address of this machine (cross-site requests), and a name that resolves to it may make them
look like the page's own (DNS rebinding). So a request has to name this server as its host, come from its own page or from no page at all,
be for one of the few routes that the page and the two ways for scripts need, be small, and arrive in time. Files named in it have to be in
the folder of uploads; addresses in it are taken out, since the server fetches nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...core.reading import Refused, check_inside

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_SECONDS = 30.0
"""Within which a request's body has to arrive."""
OVERHEAD = 2**16
"""Bytes that a form may have around its file, and most of a request that carries no file."""
WAITING = 32
"""Requests for an answer that may wait for the network; more are told to come back."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Browsers ask nobody but the server itself, whatever gradio's page would like to fetch, and show its answers to no other page."""

_API = "/gradio_api/"
_ROUTES = {
    "GET": re.compile(
        r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/(?:static|assets|svelte)/.*"
        r"|/gradio_api/(?:info/?|config|startup-events|heartbeat/\w+|queue/data|upload_progress|app_id|file=.*|call/predict/\w+)"
    ),
    "HEAD": re.compile(r"/"),
    "POST": re.compile(r"/predict|/gradio_api/(?:upload|queue/join|call/predict|reset|cancel)/?"),
}
_WITH_FILES = ("/predict", f"{_API}upload")
_ANSWERS = ("/predict", f"{_API}queue/join", f"{_API}call/predict")


class Gate:
    """The outermost part of the server.

    Args:
        app: what it guards.
        folder: of uploads, the only files that a request may name.
        hosts: names under which the server may be asked, besides addresses in numbers and localhost.
        max_bytes: of an uploaded file.
    """

    def __init__(self, app: App, *, folder: Path, hosts: Iterable[str], max_bytes: int) -> None:
        self.app, self.folder, self.max_bytes = app, folder, max_bytes
        self.hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}
        self.waiting = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # the page opens no sockets
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], scope["path"]
        refusal = self._refusal(method, path, headers)
        if refusal is not None:
            await _say(send, *refusal)
            return
        if path.rstrip("/") in _ANSWERS and method == "POST":
            if self.waiting >= WAITING:
                await _say(send, 503, "too many requests are waiting; try again in a moment", {"Retry-After": "2"})
                return
            self.waiting += 1
            try:
                await self._pass(scope, receive, send)
            finally:
                self.waiting -= 1
        else:
            await self._pass(scope, receive, send)

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and reason where a request is refused by its head alone."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 421, "this server does not answer under that name; --host-name adds one"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "requests from other pages are refused"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not (
            method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
        ):
            return 403, "requests from other pages are refused"
        routes = _ROUTES.get(method)
        if routes is None:
            return 405, f"{method} is not answered here"
        if not routes.fullmatch(path):
            return 404, "there is nothing here"
        if path.startswith(f"{_API}file="):
            return self._file_refusal(path.removeprefix(f"{_API}file="))
        stated = headers.get("content-length", "0")
        if not stated.isdecimal() or int(stated) > self._most(path):
            return 413, self._too_large()
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname if re.fullmatch(r"[\w.\-\[\]:]+", host) else None
        except ValueError:
            name = None
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.hosts
        return True  # a page of another site cannot make its own name an address in numbers

    def _file_refusal(self, name: str) -> tuple[int, str] | None:
        try:
            check_inside(name, self.folder)
        except (Refused, ValueError):
            return 403, "only files that were sent here are given back"
        return None

    def _most(self, path: str) -> int:
        return self.max_bytes if path == "/predict" else self.max_bytes + OVERHEAD if path in _WITH_FILES else OVERHEAD

    def _too_large(self) -> str:
        return f"more than {in_words(self.max_bytes)}; make the image smaller, or start the server with a larger --max-upload"

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        """Hands the request on, its body read, bounded and checked."""
        path = scope["path"]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(n, v) for n, v in message.get("headers", ()) if not n.lower().startswith((b"access-control-", b"server"))]
                message["headers"] = [*kept, *((n.lower().encode(), v.encode()) for n, v in HEADERS.items())]
            await send(message)

        if scope["method"] != "POST":
            await self.app(scope, receive, answer)
            return
        body, most = bytearray(), self._most(path)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    if len(body) > most:
                        await _say(send, 413, self._too_large(), {"Connection": "close"})
                        return
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            await _say(send, 408, "the request took too long to arrive", {"Connection": "close"})
            return
        if path.startswith(_API) and path not in _WITH_FILES:
            try:
                body = bytearray(json.dumps(self._checked(json.loads(bytes(body) or b"null"))).encode())
            except Refused as error:
                await _say(send, 403, f"{error.filename} was not sent here")
                return
            except (ValueError, RecursionError):
                await _say(send, 400, "the request is no JSON")
                return
            length = str(len(body)).encode()
            scope = {**scope, "headers": [(n, length if n.lower() == b"content-length" else v) for n, v in scope["headers"]]}
        given = False

        async def once() -> Message:
            nonlocal given
            if given:
                return await receive()  # waits for the end of the connection
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, once, answer)

    def _checked(self, value: Any) -> Any:
        """A request's data in which every file is in the folder of uploads and no address is left.

        Raises:
            Refused: a file is elsewhere.
        """
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                check_inside(value["path"], self.folder)
            elif ("path" in value and value["path"] is not None) or (value.get("url") and "path" not in value):
                raise Refused("is no file that was sent", str(value.get("path") or value["url"])[:200])
            return {key: None if key == "url" else self._checked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._checked(item) for item in value]
        return value


async def _say(send: Send, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
    """One object with the reason."""
    body = json.dumps({"error": reason}).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body)), **HEADERS, **(headers or {})}
    await send(
        {"type": "http.response.start", "status": status, "headers": [(n.lower().encode(), v.encode()) for n, v in fields.items()]}
    )
    await send({"type": "http.response.body", "body": body})


def in_words(count: int) -> str:
    """A number of bytes for people: megabytes of 2^20, as browsers and gradio count them, or kilobytes where it is less."""
    for size, unit in ((2**20, "MB"), (2**10, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def own_file(path: str | os.PathLike[str], folder: Path) -> Path:
    """The path of a file that was sent.

    Raises:
        Refused: it is elsewhere.
    """
    check_inside(os.fspath(path), folder)
    return Path(path)
