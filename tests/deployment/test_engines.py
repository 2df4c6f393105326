"""Engines: one contract for all runtimes, from files and from networks, and a choice among them that is told."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import resnets
from resnets.classification.evaluate import evaluate
from resnets.cli import main
from resnets.core import precision as precision_rule
from resnets.deployment.engines import choice
from resnets.deployment.engines import opening as engines
from resnets.deployment.engines.choice import choose_engine
from resnets.deployment.engines.engine import Engine, EngineModule
from resnets.deployment.engines.opening import engine_for, open_engine
from resnets.deployment.export.export import Exported
from resnets.deployment.graph.names import ENGINES, EXPORTED, EngineName, Format, is_exported
from resnets.deployment.prediction.predict import predict
from resnets.networks import Network, get_spec
from resnets.training.run import Run

CPU = torch.device("cpu")
Get = Callable[..., Exported]
Need = Callable[[Format], None]
FORMATS: tuple[Format, ...] = ("onnx", "openvino", "torch-export")


def check(engine: Engine, network: Network, tolerance: float) -> None:
    """The contract: shapes, type, values within a share of the largest logit, no images, wrong shapes."""
    for count, size in ((1, 32), (3, 32), (16, 32), (2, 48)):
        images = torch.randn(count, 3, size, size)
        if count == 3:
            images = images.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            expected = network(images)
        found = engine.logits(images)
        assert (found.shape, found.dtype, found.device) == (expected.shape, torch.float32, images.device)
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()
    assert engine.logits(torch.zeros(0, 3, 32, 32)).shape == (0, 10)
    with pytest.raises(ValueError, match=r"takes images of shape \(N, 3, size, size\), not \(2, 1, 32, 32\)"):
        engine.logits(torch.zeros(2, 1, 32, 32))
    assert (engine.spec, engine.classes, engine.preprocessing) == (network.spec, network.classes, network.preprocessing)


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino", "torch-export"])
def test_a_network_in_every_engine(shipped: Network, need: Need, name: EngineName) -> None:
    need({"onnxruntime": "onnx", "openvino": "openvino"}.get(name, "torch-export"))  # type: ignore[arg-type]
    said: list[str] = []
    engine = open_engine(shipped, engine=name, report=said.append)
    assert (engine.name, engine.precision) == (name, "fp32")
    assert said == [f"engine: {name}, fp32 (as asked)"]
    assert engine.description.form.folded_norms == 5
    check(engine, shipped, 1e-5)


def test_torch_in_other_precisions(shipped: Network) -> None:
    check(open_engine(shipped, engine="torch", precision="bf16"), shipped, 5e-2)
    check(open_engine(shipped, engine="torch", precision="fp16"), shipped, 1e-2)
    exact = open_engine(shipped, engine="torch", exact=True)
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(exact.logits(images), shipped(images))
        with torch.autocast("cpu", torch.bfloat16):
            expected = shipped(images).float()
    assert torch.equal(open_engine(shipped, engine="torch", precision="bf16", exact=True).logits(images), expected)
    assert next(shipped.parameters()).dtype == torch.float32


@pytest.mark.parametrize("format", FORMATS)
def test_exported_files(shipped: Network, need: Need, exported: Get, format: Format) -> None:
    path = exported(format).path
    assert is_exported(path)
    for name in EXPORTED[path.suffix]:
        need({"openvino": "openvino"}.get(name, format))  # type: ignore[arg-type]
        check(open_engine(path, engine=name), shipped, 1e-5)
    with pytest.raises(ValueError, match=f"is run by {EXPORTED[path.suffix][0]}.*, not by torch"):
        open_engine(path, engine="torch")


def test_openvino_computes_in_bf16_where_asked(shipped: Network, exported: Get) -> None:
    path = exported("openvino").path
    if not precision_rule.native_bf16("cpu"):
        with pytest.raises(ValueError, match="no bf16 instructions"):
            open_engine(path, precision="bf16")
        return
    engine = open_engine(path, precision="bf16")
    assert engine.precision == "bf16"
    images = torch.randn(8, 3, 32, 32)
    with torch.inference_mode():
        expected = shipped(images)
    difference = (engine.logits(images) - expected).abs().max() / expected.abs().max()
    assert 1e-5 < difference < 5e-2


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_takes_uint8_serves_normalised_images_too(shipped: Network, exported: Get, format: Format) -> None:
    engine = open_engine(exported(format, True).path)
    pixels = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    assert shipped.preprocessing is not None
    images = shipped.preprocessing.normalized(pixels)
    with torch.inference_mode():
        expected = shipped(images).softmax(1)
    assert (engine.logits(images).softmax(1) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_files(exported: Get, tmp_path: Path, format: Format) -> None:
    source = exported(format).path
    path = tmp_path / source.name
    with pytest.raises(FileNotFoundError, match=f"there is no file {path}"):
        open_engine(path)
    content = source.read_bytes()
    for damaged in (b"", b"no such thing", content[: len(content) // 2]):
        path.write_bytes(damaged)
        if format == "openvino":
            shutil.copy(source.with_suffix(".bin"), tmp_path)
        with pytest.raises(ValueError, match=path.name) as caught:
            open_engine(path)
        assert "\n" not in str(caught.value)
    shutil.copy(source, tmp_path)
    if format == "openvino":
        weights = tmp_path / f"{source.stem}.bin"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ValueError, match=path.name):
            open_engine(path)
        weights.unlink()
        with pytest.raises(FileNotFoundError, match=r"there is no images\.bin"):
            open_engine(path)


def rewritten(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """A zip archive with other content for some of its members."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            archive.writestr(name, change(name, old.read(name)))
    return new.getvalue()


def _found(value: object, key: str) -> list[dict[str, object]]:
    """All tables in a JSON value that have the key."""
    if isinstance(value, dict):
        return ([value] if key in value else []) + [t for inner in value.values() for t in _found(inner, key)]
    return [t for inner in value for t in _found(inner, key)] if isinstance(value, list) else []


def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(2, 3), (torch.zeros(2, 2),))
    torch.export.save(program, tmp_path / "other.pt2")
    with pytest.raises(ValueError, match=r"other\.pt2 was not written by `resnets export`"):
        open_engine(tmp_path / "other.pt2")


def test_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    resnet50, tiny = get_spec("resnet50"), get_spec("cifar-resnet8")
    present = {"openvino", "onnxruntime", "onnx", "onnxscript"}
    monkeypatch.setattr(choice, "find_spec", lambda name: 1 if name in present else None)
    monkeypatch.setattr(precision_rule, "native_bf16", lambda device: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert choose_engine(resnet50, CPU, None, 63).engine == "torch"
    few = choose_engine(resnet50, CPU, "auto", 3)
    assert few.sentence() == "engine: torch, bf16 (a conversion pays from 64 images on)"
    many = choose_engine(resnet50, CPU, None, 10_000)
    assert (many.engine, many.precision) == ("openvino", "fp32")
    assert "saves about" in many.reason
    assert choose_engine(resnet50, CPU, "auto").precision == "bf16"
    assert choose_engine(tiny, CPU, None, 100).engine == "torch"  # seconds of conversion for milliseconds of work
    assert choose_engine(tiny, CPU, None, 10_000_000).engine == "openvino"
    assert choose_engine(get_spec("alphazero-2x16"), CPU).engine == "torch"
    assert choose_engine(resnet50, torch.device("cuda"), "fp32").reason == "the network is on cuda"
    present.discard("openvino")
    assert choose_engine(resnet50, CPU).engine == "onnxruntime"
    assert choose_engine(resnet50, CPU, "bf16").engine == "torch"  # onnxruntime has no bf16
    present.discard("onnxscript")
    assert choose_engine(resnet50, CPU).engine == "torch"
    monkeypatch.setattr(precision_rule, "native_bf16", lambda device: False)
    assert choose_engine(resnet50, CPU, "auto").precision == "fp32"


def test_wrong_requests(shipped: Network, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no engine 'tensorrt'; choose auto or one of torch, "):
        open_engine(shipped, engine="tensorrt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision 'int4' is none"):
        open_engine(shipped, engine="torch", precision="int4")
    with pytest.raises(ValueError, match="onnxruntime runs networks in fp32 or fp16, not bf16"):
        open_engine(shipped, engine="onnxruntime", precision="bf16")
    with pytest.raises(ValueError, match="holds no model"):
        open_engine(tmp_path)
    (tmp_path / "weights.pth").touch()
    with pytest.raises(ValueError, match=r"resnets convert .*weights\.pth --to resnets"):
        open_engine(tmp_path / "weights.pth")
    assert set(engines._FORMS) < set(ENGINES)


def test_names_of_the_zoo_and_model_files(small_run: Run) -> None:
    engine = open_engine("cifar-resnet8:blocks=[1]", engine="torch")
    assert engine.description.provenance["weights"] == "fresh"
    assert engine.logits(torch.randn(1, 3, 32, 32)).shape == (1, 10)
    network = resnets.load_model(small_run.model_path)
    for model in (small_run.directory, small_run.model_path):
        engine = open_engine(model, count=5)
        images = torch.randn(2, network.spec.in_channels, 8, 8)
        with torch.inference_mode():
            assert torch.allclose(engine.logits(images), network(images), rtol=1e-4, atol=1e-4)
        assert engine.classes == network.classes


def test_evaluation_and_prediction_take_engines(shipped: Network, exported: Get, tmp_path: Path) -> None:
    engine = open_engine(exported("torch-export").path)
    batches = [(torch.randn(9, 3, 32, 32), torch.randint(10, (9,))) for _ in range(2)]
    expected = evaluate(shipped, batches, flips=True)
    found = evaluate(EngineModule(engine), batches, flips=True)
    assert torch.equal(found.confusion, expected.confusion)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    Image.effect_noise((50, 40), 90).convert("RGB").save(tmp_path / "a.png")
    one, two = (next(predict(model, [tmp_path / "a.png"], top=10)) for model in (shipped, engine))
    assert [label for label, _ in one.top] == [label for label, _ in two.top]
    assert [share for _, share in one.top] == pytest.approx([share for _, share in two.top], abs=1e-5)


def test_predict_takes_an_exported_file(exported: Get, tmp_path: Path, capfd: pytest.CaptureFixture[str], shipped: Network) -> None:
    path = exported("onnx").path
    Image.effect_noise((50, 40), 90).convert("RGB").save(tmp_path / "a.png")
    assert main(["predict", str(path), str(tmp_path / "a.png"), "--json"]) == 0
    captured = capfd.readouterr()
    assert captured.err == "engine: onnxruntime, fp32 (what is installed for .onnx files)\n"
    answer = json.loads(captured.out)
    expected = next(predict(shipped, [tmp_path / "a.png"]))
    assert (answer["label"], answer["probability"]) == (expected.top[0][0], pytest.approx(expected.top[0][1], abs=1e-5))
    assert main(["predict", str(path), str(tmp_path / "a.png"), "--engine", "torch-export"]) == 2
    assert "is run by onnxruntime or openvino, not by torch-export" in capfd.readouterr().err


def test_the_engine_leaves_the_network_alone(shipped: Network) -> None:
    before = {name: value.clone() for name, value in shipped.state_dict().items()}
    engine_for(shipped, "torch", precision="bf16").logits(torch.randn(1, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in shipped.state_dict().items())
    assert {m.__class__.__name__ for m in shipped.modules()} >= {"BatchNorm2d"}
