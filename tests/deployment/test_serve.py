"""A network served on a page: what it answers, to whom, and what it makes of bad files; in a process of its own and a real browser."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import PIL.Image
import pytest
import torch
from chromium import Chromium, find_browser

import resnets
from resnets.data.datasets.catalogue import load
from resnets.deployment.engines.models import open_network
from resnets.deployment.engines.opening import engine_for, open_engine
from resnets.deployment.export.export import export_model
from resnets.deployment.prediction.predict import predict
from resnets.deployment.serving.samples import samples_in, samples_of, spread
from resnets.deployment.serving.served import Answer, BadImage, Served, ServedClassifier, answer_as_json
from resnets.deployment.serving.server import address_of, in_words, listen
from resnets.training.run import Run

LIMIT = 60_000
"""Bytes of an upload that the server of these tests takes: 0.0572 MB and a little."""


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real digit, as a file."""
    path = tmp_path_factory.mktemp("images") / "digit.png"
    PIL.Image.fromarray(load("digits", "test").images[3, 0].numpy()).save(path)
    return path


@pytest.fixture(scope="module")
def served(small_run: Run) -> ServedClassifier:
    """The digits' network, without a page."""
    network, about = open_network(small_run.model_path)
    return ServedClassifier(engine_for(network, "torch", exact=True, description=about), network, "small")


@pytest.fixture(scope="module")
def expected(small_run: Run, digit: Path) -> dict[str, Any]:
    """What `resnets predict --json --top 5` says of the digit, without its path."""
    said = next(predict(open_engine(small_run.model_path, engine="torch", exact=True), [digit], top=5)).as_json()
    assert said.pop("path") == str(digit)
    return said


def test_it_says_what_predict_says_and_shows_where(served: ServedClassifier, digit: Path, expected: dict[str, Any]) -> None:
    assert served.views == ("conv1", "conv2_x", "conv3_x", "conv4_x")
    shown = {view: served.answer(digit, view=view) for view in (None, *served.views)}
    for answer in shown.values():
        assert answer.said == expected
        assert [(bar.label, bar.share) for bar in answer.bars] == [(row["label"], row["probability"]) for row in expected["top"]]
    assert shown[None].shown == shown["conv4_x"].shown  # the last stage is what the paper looks at
    assert len({answer.shown for answer in shown.values()}) == 4
    assert "conv2_x" in shown["conv2_x"].caption
    plain = served.answer(digit, top=2, draw=False)
    assert plain.shown is None
    assert len(plain.bars) == 2
    for wrong in ({"view": "conv9"}, {"top": 0}):
        with pytest.raises(BadImage):
            served.answer(digit, **wrong)  # type: ignore[arg-type]


def test_an_exported_file_has_no_heat_map_and_says_so(
    small_run: Run, tmp_path: Path, digit: Path, expected: dict[str, Any]
) -> None:
    path = export_model(resnets.load_model(small_run.model_path), tmp_path / "small.pt2", format="torch-export").path
    served = ServedClassifier(open_engine(path), None, "small")
    answer = served.answer(digit)
    assert served.views == ()
    assert "Grad-CAM" in served.note
    assert answer.said["label"] == expected["label"]
    assert answer.said["probability"] == pytest.approx(expected["probability"], abs=1e-4)
    assert answer.shown is not None


def test_a_network_that_names_nothing_has_no_page() -> None:
    network = resnets.create_model("cifar-resnet8")
    with pytest.raises(ValueError, match="neither its classes nor its preprocessing"):
        ServedClassifier(engine_for(network, "torch", exact=True), network, "fresh")


def test_what_fails_inside_becomes_a_message(digit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(Served):
        title = "failing"

        def _answer(self, path: Path, view: str | None, top: int, draw: bool) -> Answer:
            raise MemoryError("out of it")

    said = answer_as_json(Failing(), digit)
    assert said == {"error": "it made the network fail (MemoryError: out of it)"}
    assert "Traceback" in capsys.readouterr().err  # for whoever runs the server


def test_samples_are_one_of_each_class_or_spread_over_a_folder(tmp_path: Path) -> None:
    digits = load("digits", "test")
    found = samples_of("digits", tmp_path)
    assert [sample.name for sample in found] == list("0123456789")
    for sample, label in zip(found, range(10), strict=True):
        first = int(torch.nonzero(digits.labels == label)[0])
        assert numpy.array_equal(numpy.asarray(PIL.Image.open(sample.path)), digits.images[first, 0].numpy())
    assert [sample.name for sample in samples_of("digits", tmp_path, most=3)] == ["0", "3", "6"]
    assert [sample.path.name for sample in samples_in(tmp_path, most=5)] == [f"sample-{i}.png" for i in (0, 2, 4, 6, 8)]
    assert spread(3, 10) == [0, 1, 2]
    with pytest.raises(ValueError, match="no folder"):
        samples_in(tmp_path / "absent")
    with pytest.raises(ValueError, match="--samples"):
        samples_of("hf:somebody/something", tmp_path)


def test_a_port_in_use_and_a_host_that_is_none_are_told(small_run: Run) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert address_of(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match=rf"port {port}: Address already in use; choose another with --port, or 0"):
            listen("127.0.0.1", port)
    with pytest.raises(ValueError, match="port 70000"):
        listen("127.0.0.1", 70000)
    with pytest.raises(ValueError, match="no host"):
        listen("no host at all", 0)
    assert [in_words(count) for count in (20 * 2**20, 1536, 700)] == ["20 MB", "1.5 kB", "700 bytes"]


@pytest.fixture(scope="module")
def address(small_run: Run) -> Iterator[str]:
    """A server in a process of its own, which must end well when it is told to as Ctrl-C does."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("needs gradio: pip install 'resnets[serve]'")
    command = [
        sys.executable,
        "-m",
        "resnets",
        "serve",
        str(small_run.directory),
        "--port",
        "0",
        "--json",
        "--max-upload",
        "0.0572205",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_PROXY": "127.0.0.1"}
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(f"it did not start: {process.communicate()[1]}")
    yield json.loads(line)["url"]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def post(address: str, data: bytes) -> tuple[int, dict[str, Any]]:
    """Status and object of a plain request."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(address, data, {"Content-Type": "application/octet-stream"})) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_plain_request(address: str, digit: Path, expected: dict[str, Any]) -> None:
    status, said = post(f"{address}/predict", digit.read_bytes())
    assert status == 200
    assert said.pop("milliseconds") > 0
    assert said == expected
    assert len(post(f"{address}/predict?top=2", digit.read_bytes())[1]["top"]) == 2
    assert post(f"{address}/predict", b"no image") == (422, {"error": "not an image, whatever its name says"})
    assert post(f"{address}/predict", b"")[0] == 422
    assert post(f"{address}/predict?top=many", digit.read_bytes())[0] == 400
    assert post(f"{address}/predict", bytes(LIMIT - 100))[0] == 422
    status, said = post(f"{address}/predict", bytes(LIMIT + 100))
    assert status == 413
    assert "58.6 kB" in said["error"]
    assert post(f"{address}/predict", digit.read_bytes())[0] == 200


def test_every_kind_of_image_is_answered_as_predict_does(address: str, small_run: Run, tmp_path: Path) -> None:
    grey = PIL.Image.fromarray(load("digits", "test").images[5, 0].numpy()).resize((64, 48))
    transparent = grey.convert("RGBA")
    transparent.putalpha(grey)
    deep = PIL.Image.fromarray(numpy.asarray(grey).astype(numpy.uint16) * 257)
    huge = PIL.Image.new("1", (12_000, 12_000))
    images = {"grey.png": grey, "cmyk.jpg": grey.convert("CMYK"), "alpha.png": transparent, "deep.png": deep, "huge.png": huge}
    for name, image in images.items():
        image.save(tmp_path / name)
    grey.save(tmp_path / "moving.gif", save_all=True, append_images=[grey.rotate(180)])
    engine = open_engine(small_run.model_path, engine="torch", exact=True)
    for name in (*images, "moving.gif"):
        status, said = post(f"{address}/predict", (tmp_path / name).read_bytes())
        if name == "huge.png":
            assert (status, said) == (422, {"error": "it has 144,000,000 pixels, more than 30,000,000; make it smaller first"})
            continue
        told = next(predict(engine, [tmp_path / name], top=5)).as_json()
        assert status == 200, name
        assert [said[field] for field in ("label", "probability", "top")] == [
            told[field] for field in ("label", "probability", "top")
        ]


def test_gradios_client(address: str, digit: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False, analytics_enabled=False)
    said = client.predict(handle_file(str(digit)), api_name="/predict")
    assert said.pop("milliseconds") > 0
    assert said == expected
    assert len(client.predict(handle_file(str(digit)), 3, api_name="/predict")["top"]) == 3
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/predict"]
    broken, large = tmp_path / "broken.jpg", tmp_path / "large.png"
    broken.write_bytes(b"\xff\xd8\xff\xe0 and no more")
    large.write_bytes(digit.read_bytes() + bytes(LIMIT))
    assert client.predict(handle_file(str(broken)), api_name="/predict").keys() == {"error"}
    with pytest.raises(ValueError, match="exceeds the maximum file size"):
        client.predict(handle_file(str(large)), api_name="/predict")
    assert client.predict(handle_file(str(digit)), api_name="/predict")["label"] == expected["label"]


def test_an_upload_of_gradios_is_cut_off(address: str) -> None:
    """Its client and its page look at the size themselves; whoever does not is stopped by the server."""
    head = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    statuses = []
    for size in (LIMIT - 100, LIMIT + 100):
        request = urllib.request.Request(f"{address}/gradio_api/upload", head + bytes(size) + b"\r\n--edge--\r\n")
        request.add_header("Content-Type", "multipart/form-data; boundary=edge")
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
                statuses.append(answer.status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
    assert statuses == [200, 413]


def test_files_of_the_machine_stay_its_own(address: str, small_run: Run) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in ("/etc/hostname", str(small_run.model_path)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            opener.open(f"{address}/gradio_api/file={path}")
        assert refused.value.code == 403
    with opener.open(address) as page:
        assert "connect-src 'self'" in page.headers["Content-Security-Policy"]
    assert socket.gethostbyname(address.split("/")[2].split(":")[0]) == "127.0.0.1"


def test_in_a_browser(address: str, digit: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    broken, large = tmp_path / "<b>broken.jpg", tmp_path / "large.png"
    broken.write_bytes(b"\xff\xd8\xff\xe0 and no more")
    large.write_bytes(digit.read_bytes() + bytes(LIMIT))
    field, said = "#image input[type=file]", "document.querySelector('#said').innerText"
    with Chromium(find_browser(), tmp_path / "profile") as browser:
        browser.go(address)
        browser.wait(f"document.querySelector('{field}') && {said}.includes('Drop an image')")
        assert browser.wait("document.querySelectorAll('#samples button img').length") == 10
        browser.choose(field, digit)
        browser.wait(f"{said}.includes(' ms')")
        rows = browser.value("[...document.querySelectorAll('#said li .rs-label')].map((row) => row.innerText)")
        assert rows == [row["label"] for row in expected["top"]]
        assert f"{100 * expected['probability']:.1f} %" in browser.value(said)
        heat = "document.querySelector('#said figure img')"
        first = browser.value(f"{heat}.src")
        assert browser.value(f"{heat}.decode().then(() => {heat}.naturalWidth)") == 640
        browser.press("#views input")
        browser.wait(f"{said}.includes('conv1')")
        assert browser.value(f"{heat}.src") != first
        colours = browser.screenshot().getcolors(1280 * 900)
        assert colours is not None
        assert len(colours) > 500  # the heat map is drawn, and not only there

        browser.choose(field, large)
        browser.wait("document.body.innerText.includes('exceed')")
        browser.choose(field, broken)
        browser.wait(f"{said}.includes('cannot be answered')")
        assert "broken.jpg" in browser.value(said)
        browser.value("document.querySelectorAll('#samples button')[0].click()")
        browser.wait(f"{said}.includes(' ms')")
        assert all(asked.startswith(address) for asked in browser.requested), browser.requested
        assert len(browser.requested) > 20
        assert not [line for line in browser.console if "Content Security Policy" in line or "TypeError" in line]
