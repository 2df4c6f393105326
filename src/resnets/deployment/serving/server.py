"""A network served at an address: the page for people, one plain request for scripts, and limits on both.

GET  /           the page
POST /predict    the bytes of an image, to one JSON object: what the command's --json prints, and the milliseconds; ?top=3 names three
                 classes, ?name=cat.jpg is the path in the object. 413 for too many bytes, 422 for what is no image
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
import webbrowser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.claims import LOCK, InUse, hold
from ...core.errors import UserError
from ...core.text import to_json
from ..engines.engine import needed
from .gate import Gate, in_words
from .samples import Sample
from .served import BARS, Served, answer_as_json

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

HEAD_SECONDS, CONNECTIONS = 10.0, 200
"""Within which the head of a request has to arrive, and connections that are open at a time."""
_PREFIX = "resnets-serve-"


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 finds a free one.

    Raises:
        ValueError: the port is none, or the host is no address of this machine.
        OSError: the port is in use, or reserved; the message says what to do.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"port {port} does not exist; choose one from 1024 to 65535, or 0 for any free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise UserError(f"there is no host {host!r} to listen on ({error.strerror}); 127.0.0.1 is this machine alone") from None
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
    """A folder for what is sent, which vanishes with the server; gradio would else keep all of it for good. Folders of servers that were
    killed are removed: a server holds the lock of its own as long as it lives."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as made, hold(Path(made) / LOCK, Path(made)):
        (folder := Path(made) / "uploads").mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        yield folder


def _remove_if_left(folder: Path) -> None:
    """Removes a folder of uploads whose server is gone."""
    lock = folder / LOCK
    try:
        found = folder.lstat()
        own = stat.S_ISDIR(found.st_mode) and (not hasattr(os, "getuid") or found.st_uid == os.getuid())
        if own and lock.stat().st_size:  # a lock that is empty is about to be held
            with hold(lock, folder):
                shutil.rmtree(folder, ignore_errors=True)
    except InUse:
        return
    except OSError as error:  # a folder that cannot be removed is no reason not to serve
        logging.getLogger(__name__).debug("%s stays: %s", folder, error)


def build_app(
    served: Served, samples: Sequence[Sample], folder: Path, *, address: str, max_bytes: int, hosts: Iterable[str] = ()
) -> Gate:
    """The server's requests.

    Args:
        served: the network.
        samples: images to choose from on the page.
        folder: for what is sent, see `upload_folder`.
        address: under which the server is reached.
        max_bytes: of one image.
        hosts: names under which it may be asked, besides addresses in numbers, localhost and the machine's own.

    Raises:
        ValueError: gradio is not installed.
    """
    needed("gradio", "serve")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it would else call home as soon as it is imported
    from .page import build_page, style, theme

    # Samples are copied, so that every file that the server gives out is in its own folder.
    samples = [Sample(Path(shutil.copy(each.path, _new_name(folder, each.path))), each.name) for each in samples]
    page = build_page(served, samples, folder=folder, address=address, limit=in_words(max_bytes))
    import gradio
    from fastapi import FastAPI

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_plain_request(app, served, folder)
    gradio.mount_gradio_app(
        app, page, path="/", theme=theme(), css=style(), max_file_size=max_bytes, footer_links=[], run_history=False, show_error=False,
        ssr_mode=False, mcp_server=False, pwa=False,
    )  # fmt: skip
    return Gate(app, folder=folder, hosts=hosts, max_bytes=max_bytes)


def _new_name(folder: Path, path: Path) -> str:
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="sample-", suffix=path.suffix)
    os.close(descriptor)
    return name


def run_app(app: Gate, listener: socket.socket, *, open_browser: bool = False) -> None:
    """Serves until the process is told to stop, by Ctrl-C or as a service is, and returns then; for the main thread."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # An open page keeps a request open, too, to hear of news; that it is cut off here is nobody's error.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    class Prompt(H11Protocol):
        """Cuts off whoever connects and sends no whole head of a request in time."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.loop.call_later(HEAD_SECONDS, self._cut_off)

        def _cut_off(self) -> None:
            if self.cycle is None and not self.transport.is_closing():
                self.transport.close()

    server = Server(
        uvicorn.Config(
            app, http=Prompt, ws="none", log_level="warning", timeout_graceful_shutdown=1, timeout_keep_alive=5, limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=2**15, server_header=False, date_header=False,
        )
    )  # fmt: skip
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


def _add_plain_request(app: FastAPI, served: Served, folder: Path) -> None:
    from fastapi.responses import JSONResponse
    from starlette.concurrency import run_in_threadpool

    async def predict(request: Request) -> Response:
        asked = request.query_params.get("top", str(BARS))
        if not re.fullmatch(r"[1-9][0-9]{0,5}", asked):
            return JSONResponse({"error": f"top={asked[:50]} is no number of classes"}, 400)
        received = await request.body()  # bounded by the gate

        def answered() -> dict[str, Any]:
            with tempfile.NamedTemporaryFile(dir=folder) as file:
                file.write(received)
                file.flush()
                return answer_as_json(served, Path(file.name), int(asked))

        said = await run_in_threadpool(answered)
        return Response(to_json(said), 422 if "error" in said else 200, media_type="application/json")

    from fastapi import Response

    app.add_route("/predict", predict, methods=["POST"])
