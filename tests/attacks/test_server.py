"""A server of `resnets serve` under attack: by scripts, by pages of other sites, by slow and large requests, and after it was killed."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from resnets.data.datasets.catalogue import load
from resnets.deployment.serving import gate as gate_module
from resnets.deployment.serving.gate import WAITING, Gate
from resnets.training.run import Run

LIMIT = 60_000
"""Bytes of an upload that the server takes."""


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "digit.png"
    PIL.Image.fromarray(load("digits", "test").images[3, 0].numpy()).save(path)
    return path


def started(run: Run, temporary: Path) -> tuple[subprocess.Popen[str], int]:
    command = [
        sys.executable,
        "-m",
        "resnets",
        "serve",
        str(run.model_path),
        "--port",
        "0",
        "--json",
        "--max-upload",
        str(LIMIT / 2**20),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)})
    assert process.stdout is not None
    return process, int(json.loads(process.stdout.readline())["url"].rpartition(":")[2])


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def port(small_run: Run, temporary: Path) -> Iterator[int]:
    pytest.importorskip("gradio")
    process, number = started(small_run, temporary)
    yield number
    process.terminate()
    assert process.wait(20) == 0  # none of the attacks ended it
    assert not list(temporary.glob("resnets-serve-*"))


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def called(port: int, data: list[Any]) -> tuple[int, str]:
    """Status and events of a call to gradio's API for scripts."""
    body = json.dumps({"data": data}).encode()
    status, _, answer = ask(port, "POST", "/gradio_api/call/predict", body, Content_Type="application/json")
    if status != 200:
        return status, answer.decode()
    event = json.loads(answer)["event_id"]
    return status, ask(port, "GET", f"/gradio_api/call/predict/{event}")[2].decode()


def uploaded(port: int, content: bytes, name: str = "a.png") -> tuple[int, bytes]:
    edge = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    kind = "multipart/form-data; boundary=edge"
    status, _, answer = ask(port, "POST", "/gradio_api/upload", edge + content + b"\r\n--edge--\r\n", Content_Type=kind)
    return status, answer


def given(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def test_an_upload_is_answered(port: int, digit: Path) -> None:
    status, answer = uploaded(port, digit.read_bytes())
    assert status == 200
    (path,) = json.loads(answer)
    assert '"label"' in called(port, [given(path), 3])[1]
    assert ask(port, "GET", f"/gradio_api/file={path}")[0] == 200


@pytest.mark.parametrize("kind", ["image", "device", "text", "up", "link", "address", "only-address", "list"])
def test_no_file_of_the_machine_is_read(port: int, digit: Path, tmp_path: Path, kind: str) -> None:
    (path,) = json.loads(uploaded(port, digit.read_bytes())[1])
    link = Path(path).with_name("link.png")
    link.symlink_to(digit)
    data: dict[str, Any] = {
        "image": given(str(digit)),
        "device": given("/dev/zero"),
        "text": given("/etc/hostname"),
        "up": given(f"{Path(path).parent}/../../{digit.name}"),
        "link": given(str(link)),
        "address": given("/no/such", url=f"http://127.0.0.1:{port}/config"),
        "only-address": {"url": f"http://127.0.0.1:{port}/config", "meta": {"_type": "gradio.FileData"}},
        "list": [given(str(digit))],
    }
    status, answer = called(port, [data[kind], 1])
    assert status == 403, answer
    assert str(digit.parent) not in answer.replace(str(digit), "")
    queue = {"data": [data[kind], None], "fn_index": 0, "session_hash": "x", "event_data": None, "trigger_id": 1}
    body = json.dumps(queue).encode()
    assert ask(port, "POST", "/gradio_api/queue/join", body, Content_Type="application/json")[0] == 403
    link.unlink()


def test_no_file_of_the_machine_is_given_out(port: int, digit: Path) -> None:
    for name in (str(digit), "/etc/passwd", "/dev/zero", "../../etc/passwd", f"http://127.0.0.1:{port}/config"):
        assert ask(port, "GET", f"/gradio_api/file={name}")[0] == 403, name


def test_what_the_page_does_not_need_is_closed(port: int) -> None:
    closed = (
        "/openapi.json", "/docs", "/monitoring", "/monitoring/summary", "/gradio_api/deep_link", "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/stream/x/y/z", "/login", "/logout", "/gradio_api/component_server",
        "/pwa_icon", "/manifest.json", "/gradio_api/queue/status",
    )  # fmt: skip
    for path in closed:
        assert ask(port, "GET", path)[0] == 404, path
    for path in (
        "/gradio_api/component_server",
        "/gradio_api/run/predict",
        "/login",
        "/gradio_api/api/predict",
        "/gradio_api/stream/1",
    ):
        assert ask(port, "POST", path, b"{}", Content_Type="application/json")[0] == 404, path
    assert ask(port, "PUT", "/predict")[0] == 405
    assert ask(port, "OPTIONS", "/predict", Origin="http://evil.example", Access_Control_Request_Method="POST")[0] in (403, 405)
    for path in ("/", "/config", "/theme.css", "/gradio_api/info"):
        assert ask(port, "GET", path)[0] == 200, path


def test_names_that_resolve_to_this_machine_are_not_this_server(port: int) -> None:
    """DNS rebinding: the page of another site asks under its own name."""
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "", "a b", "[::1"):
        assert ask(port, "GET", "/", Host=host)[0] in (400, 421), host
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST", f"[::1]:{port}", "192.168.0.7"):
        assert ask(port, "GET", "/", Host=host)[0] == 200, host


def test_pages_of_other_sites_may_ask_for_nothing(port: int, digit: Path) -> None:
    foreign = {"Origin": "http://evil.example"}
    for headers in (
        foreign,
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "http://localhost:1"},
    ):
        status, answered, _ = ask(port, "POST", "/predict", digit.read_bytes(), **headers)
        assert status == 403, headers
        assert not any(name.startswith("access-control") for name in answered)
        assert ask(port, "POST", "/gradio_api/upload", b"x", **headers)[0] == 403
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin", "Host": f"127.0.0.1:{port}"}
    assert ask(port, "POST", "/predict", digit.read_bytes(), **own)[0] == 200
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert ask(port, "GET", "/", **link)[0] == 200  # a link to the page may be followed
    assert not any(name.startswith("access-control") for name in ask(port, "GET", "/config")[1])


def test_large_bodies_are_cut_off_on_every_route(port: int) -> None:
    for path in ("/predict", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/predict", "/gradio_api/reset"):
        assert ask(port, "POST", path, bytes(LIMIT + 2**17))[0] == 413, path
        assert ask(port, "POST", path, Content_Length="99999999999")[0] == 413, path
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"4000\r\n" + bytes(0x4000) + b"\r\n"
    connection.sendall(piece * 6)
    connection.settimeout(20)
    assert b" 413 " in connection.recv(1000)


def test_many_pixels_in_few_bytes_are_refused_before_they_are_decoded(port: int, tmp_path: Path) -> None:
    PIL.Image.new("1", (7000, 7000)).save(tmp_path / "bomb.png")
    status, _, answer = ask(port, "POST", "/predict", (tmp_path / "bomb.png").read_bytes())
    assert (status, b"49,000,000 pixels" in answer) == (422, True)


@pytest.mark.parametrize("top", ["0", "-1", "nan", "1e9", "99999999999999999999", "%1b[2J", "1;2"])
def test_top_is_a_number_of_classes(port: int, digit: Path, top: str) -> None:
    status, _, answer = ask(port, "POST", f"/predict?top={top}", digit.read_bytes())
    assert status == 400
    assert b"\x1b" not in answer


def test_requests_that_are_no_requests(port: int, digit: Path) -> None:
    bodies = (
        b"", b"{", b"[" * 60_000, b"null", b"\xff\xfe", b'{"data": NaN}', b'{"data": [{"path": 5}]}', b'{"data": [{"path": "\\u0000"}]}',
    )  # fmt: skip
    for body in bodies:
        status = ask(port, "POST", "/gradio_api/call/predict", body, Content_Type="application/json")[0]
        assert status in (400, 403, 422, 500), body[:20]
    assert ask(port, "POST", "/predict", digit.read_bytes())[0] == 200


def test_answers_carry_what_keeps_browsers_safe_and_nothing_of_the_machine(port: int) -> None:
    for path in ("/", "/nothing-here", "/config"):
        _, headers, body = ask(port, "GET", path)
        assert "connect-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert b"Traceback" not in body


def test_whoever_sends_no_head_of_a_request_is_cut_off(port: int) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
    connection.settimeout(40)
    assert connection.recv(1000) == b""


def test_uploads_of_a_killed_server_are_removed_by_the_next_one(small_run: Run, tmp_path: Path, digit: Path) -> None:
    first, port = started(small_run, tmp_path)
    (sent,) = json.loads(uploaded(port, digit.read_bytes())[1])
    second, _ = started(small_run, tmp_path)
    assert Path(sent).exists()  # the first one runs
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert Path(sent).exists()
    third, _ = started(small_run, tmp_path)
    assert not Path(sent).exists()
    for process in (second, third):
        process.terminate()
        process.wait(20)
    assert not list(tmp_path.glob("resnets-serve-*"))


def test_folders_that_are_not_a_dead_servers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnets.core.claims import LOCK
    from resnets.deployment.serving.server import upload_folder

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    (tmp_path / "resnets-serve-without-lock").mkdir()
    (starting := tmp_path / "resnets-serve-starting").mkdir()
    (starting / LOCK).touch()
    (target := tmp_path / "elsewhere").mkdir()
    (target / LOCK).write_text("x")
    (tmp_path / "resnets-serve-link").symlink_to(target)
    (dead := tmp_path / "resnets-serve-dead").mkdir()
    (dead / LOCK).write_text("x")
    with upload_folder() as folder:
        assert folder.is_dir()
        assert not dead.exists()
        assert len(list(tmp_path.glob("resnets-serve-*"))) == 4
    assert not folder.exists()
    assert (target / LOCK).read_text() == "x"


def through(gate: Any, **scope: Any) -> tuple[int, bytes]:
    """Status and body that a gate answers a request with, without a server."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    request = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"host", b"localhost")], **scope}
    asyncio.run(gate(request, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    reached = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"access-control-allow-origin", b"*")]})
        await send({"type": "http.response.body", "body": b"done"})

    gate = Gate(app, folder=tmp_path, hosts=["images.example"], max_bytes=100)
    assert through(gate) == (200, b"done")
    gate.waiting = WAITING
    status, body = through(gate)
    assert (status, b"try again" in body, len(reached)) == (503, True, 1)
    assert gate.waiting == WAITING
    assert (
        through(gate, method="GET", path="/", headers=[(b"host", b"images.example")])[0] == 200
    )  # the page itself waits for nobody
    assert through(gate, method="GET", path="/", headers=[(b"host", b"other.example")])[0] == 421


def test_a_body_that_never_ends_to_arrive_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was let through")

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"", "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    monkeypatch.setattr(gate_module, "BODY_SECONDS", 0.1)
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"host", b"127.0.0.1:7860")]}
    asyncio.run(Gate(app, folder=tmp_path, hosts=[], max_bytes=100)(scope, receive, send))
    assert sent[0]["status"] == 408
