"""A network behind an address: the page for people, one plain request for scripts, and limits on both.

GET  /           the page
POST /predict    the bytes of a picture, to one JSON object: what the command's --json prints, and the milliseconds; ?top=3 names three
                 classes, ?name=cat.jpg is the path in the object. 413 for too many bytes, 422 for what is no picture
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.engine import needed
from .samples import Sample
from .served import BARS, Served, answer_as_json

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
)
"""Content-Security-Policy: browsers ask nobody but the server itself, whatever gradio's page would like to fetch."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 finds a free one.

    Raises:
        ValueError: the port is none, or the host is no address of this machine.
        OSError: the port is in use, or reserved; the message says what to do.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} does not exist; choose one from 1024 to 65535, or 0 for any free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ValueError(f"there is no host {host!r} to listen on ({error.strerror}); 127.0.0.1 is this machine alone") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another with --port, or 0 for any free one"
        ) from None
    return listener


def address_of(listener: socket.socket) -> str:
    """What a browser on this machine is given to reach the socket."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def upload_folder() -> Iterator[Path]:
    """A folder for what is sent, which vanishes with the server; gradio would else keep all of it for good."""
    with tempfile.TemporaryDirectory(prefix="resnets-serve-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield Path(folder)


def build_app(served: Served, samples: Sequence[Sample], folder: Path, *, address: str, max_bytes: int) -> FastAPI:
    """The server's requests.

    Args:
        served: the network.
        samples: pictures to choose from on the page.
        folder: for what is sent, see `upload_folder`.
        address: under which the server is reached.
        max_bytes: of one picture.

    Raises:
        ValueError: gradio is not installed.
    """
    needed("gradio", "serve")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it would else call home as soon as it is imported
    from .page import build_page, style, theme

    page = build_page(served, samples, address=address, limit=in_words(max_bytes))
    import gradio
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_plain_request(app, served, folder, max_bytes)
    app.add_middleware(_WithPolicy)
    gradio.mount_gradio_app(
        app, page, path="/", theme=theme(), css=style(), max_file_size=max_bytes, footer_links=[], run_history=False, show_error=False,
        ssr_mode=False, mcp_server=False, pwa=False,
        # What a sample is copied from need not be in gradio's own folders.
        allowed_paths=[str(sample.path.resolve()) for sample in samples],
    )  # fmt: skip
    return app


def run_app(app: FastAPI, listener: socket.socket, *, open_browser: bool = False) -> None:
    """Serves until the process is told to stop, by Ctrl-C or as a service is, and returns then; for the main thread."""
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # An open page keeps a request open, too, to hear of news; that it is cut off here is nobody's error.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    server = Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    if open_browser:
        webbrowser.open(address_of(listener))
    # uvicorn ends in order and then sends itself the signal again, which would end the process before it has tidied up.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()


def in_words(count: int) -> str:
    """A number of bytes for people: megabytes of 2^20, as browsers and gradio count them, or kilobytes where it is less."""
    for size, unit in ((2**20, "MB"), (2**10, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def _add_plain_request(app: FastAPI, served: Served, folder: Path, max_bytes: int) -> None:
    from fastapi.responses import JSONResponse
    from starlette.concurrency import run_in_threadpool

    async def predict(request: Request) -> Response:
        asked = request.query_params.get("top", str(BARS))
        if not asked.isdecimal():
            return JSONResponse({"error": f"top={asked} is no number of classes"}, 400)
        received = bytearray()
        async for part in request.stream():
            received += part
            if len(received) > max_bytes:
                reason = (
                    f"more than {in_words(max_bytes)}; make the picture smaller, or start the server with a larger --max-upload"
                )
                return JSONResponse({"error": reason}, 413, {"Connection": "close"})

        def answered() -> dict[str, Any]:
            with tempfile.NamedTemporaryFile(dir=folder) as file:
                file.write(received)
                file.flush()
                return answer_as_json(served, Path(file.name), int(asked))

        said = await run_in_threadpool(answered)
        return JSONResponse(said, 422 if "error" in said else 200)

    app.add_route("/predict", predict, methods=["POST"])


class _WithPolicy:
    """Adds the policy to every answer."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, with_policy if scope["type"] == "http" else send)
