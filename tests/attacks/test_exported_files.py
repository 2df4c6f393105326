"""Exported graphs of a stranger. torch's reader would run what is in them; ours takes the tensors out and builds the network itself.

Every variant gives the right logits, or is refused in one sentence; nothing of it runs.
"""

from __future__ import annotations

import io
import json
import pickle
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

import resnets
from resnets.deployment.engines import open_engine
from resnets.deployment.export import export_model
from resnets.networks import Network, get_spec


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def trained_network(name: str = "cifar-resnet8", **overrides: Any) -> Network:
    torch.manual_seed(0)
    network = resnets.create_model(name, num_classes=3, **overrides)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    network.classes = ("a", "b", "c")
    return network.eval()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_model(trained_network(), tmp_path_factory.mktemp("exported") / "net.pt2", format="torch-export").path


INPUTS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def found(value: Any, key: str) -> Iterator[dict[str, Any]]:
    """Every table in a JSON value that has the key."""
    if isinstance(value, dict):
        if key in value:
            yield value
        for inner in value.values():
            yield from found(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from found(inner, key)


Members = list[tuple[str, bytes]]


def change(members: Members, ending: str, edit: Callable[[Any], Any]) -> Members:
    """One JSON member, edited."""

    def edited(content: bytes) -> bytes:
        value = json.loads(content)
        edit(value)
        return json.dumps(value).encode()

    assert any(name.endswith(ending) for name, _ in members)
    return [(name, edited(content) if name.endswith(ending) else content) for name, content in members]


def replaced(members: Members, ending: str, content: bytes) -> Members:
    assert any(name.endswith(ending) for name, _ in members)
    return [(name, content if name.endswith(ending) else old) for name, old in members]


def set_all(key: str, value: Any) -> Callable[[Any], None]:
    def edit(table: Any) -> None:
        for each in list(found(table, key)):
            each[key] = value

    return edit


def first_weight(**meta: Any) -> Callable[[Any], None]:
    def edit(table: Any) -> None:
        next(iter(table["config"].values()))["tensor_meta"].update(meta)

    return edit


def attacks(members: Members, sprung: Path) -> dict[str, Members]:
    trap, code = pickle.dumps(Trap(sprung)), f"__import__('pathlib').Path({str(sprung)!r}).touch()"
    weights = "model_weights_config.json"
    return {
        "sample inputs": replaced(members, "sample_inputs/model.pt", trap),
        "weights/model.pt": [*members, ("archive/data/weights/model.pt", trap)],
        "constants/model.pt": [*members, ("archive/data/constants/model.pt", trap)],
        "opaque constant": change(
            [*members, ("archive/data/constants/opaque_0", trap)], "model_constants_config.json",
            lambda table: table["config"].update(x={"path_name": "opaque_0", "is_param": False, "use_pickle": False, "tensor_meta": None}),
        ),
        "pickled weight": change(replaced(members, "weights/weight_0", trap), weights, set_all("use_pickle", True)),
        "twice": [*members, *((name, trap) for name, _ in members if name.endswith("weight_0"))],
        "letter case": [*members, ("archive/DATA/weights/weight_0", trap)],
        "old layout": [("archive/version", b"1"), ("archive/serialized_state_dict.pt", trap), ("serialized_exported_program.json", b"{}")],
        "no format": [each for each in members if not each[0].endswith("archive_format")],
        "guards": change(members, "models/model.json", lambda model: model.update(guards_code=[code])),
        "size expression": change(members, "models/model.json", set_all("expr_str", code)),
        "endless size": change(members, "models/model.json", set_all("expr_str", "9**9**9**9")),
        "target": change(members, "models/model.json", set_all("target", "torch.hub.load")),
        "from_file": change(members, "models/model.json", set_all("target", "torch.ops.aten.from_file.default")),
        "machine code": [*members, ("archive/data/aotinductor/model/x.so", b"\x7fELF")],
        "huge by stride": change(members, weights, first_weight(sizes=[{"as_int": 10**12}], strides=[{"as_int": 0}])),
        "beyond its bytes": change(members, weights, first_weight(storage_offset={"as_int": 10**9})),
        "negative stride": change(members, weights, first_weight(strides=[{"as_int": -1}] * 4)),
        "symbolic size": change(members, weights, first_weight(sizes=[{"as_expr": {"expr_str": code}}] * 4)),
        "deep": replaced(members, weights, b"[" * 100_000 + b"]" * 100_000),
        "no table": replaced(members, weights, b"[]"),
        "another member": change(members, weights, lambda table: next(iter(table["config"].values())).update(path_name="../../archive_format")),
        "foreign": [each for each in members if "/extra/" not in each[0]],
        "a billion blocks": change(members, "extra/resnets.json", lambda it: it.update(spec='{"blocks": [1000000000]}')),
        "classes": change(members, "extra/resnets.json", lambda it: it.update(classes='["a", "b"]')),
    }  # fmt: skip


def written(members: Members) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as new:
        for name, content in members:
            new.writestr(name, content)
    return made.getvalue()


NAMES = tuple(attacks([(f"archive/{ending}", b"{\"config\": {\"x\": {\"tensor_meta\": {}}}, \"spec\": \"\"}") for ending in (
    "data/weights/model_weights_config.json", "data/weights/weight_0", "data/constants/model_constants_config.json", "models/model.json",
    "data/sample_inputs/model.pt", "extra/resnets.json")], Path("x")))  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_of_it_runs(archive: Path, tmp_path: Path, name: str) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "trap.pt2"
    with zipfile.ZipFile(archive) as old:
        members = [(member, old.read(member)) for member in old.namelist()]
    path.write_bytes(written(attacks(members, sprung)[name]))
    expected = open_engine(archive).logits(INPUTS)
    try:
        logits, refusal = open_engine(path).logits(INPUTS), None
    except ValueError as error:
        logits, refusal = expected, str(error)
    assert torch.equal(logits, expected)
    assert refusal is None or (str(path) in refusal and "\n" not in refusal)
    assert not sprung.exists()


def test_the_attack_is_real(archive: Path, tmp_path: Path) -> None:
    """torch's own reader springs the trap in the weights."""
    sprung, path = tmp_path / "sprung", tmp_path / "trap.pt2"
    with zipfile.ZipFile(archive) as old:
        members = [(member, old.read(member)) for member in old.namelist()]
    path.write_bytes(written(attacks(members, sprung)["weights/model.pt"]))
    with pytest.raises(Exception):  # noqa: B017
        torch.export.load(path)
    assert sprung.exists()


@pytest.mark.parametrize(
    ("network", "overrides", "precision"),
    [
        ("cifar-resnet8", {}, "fp32"), ("cifar-resnet8", {}, "bf16"), ("cifar-resnet8", {}, "fp16"),
        ("cifar-preact-resnet20", {}, "fp32"), ("se-resnet50", {"width": 8, "stem_width": 8}, "fp32"),
        ("resnet50-d", {"width": 8, "stem_width": 8}, "fp32"),
    ],
)  # fmt: skip
def test_the_network_that_is_built_computes_what_the_graph_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, overrides: dict[str, Any], precision: str
) -> None:
    get_spec(network)
    path = export_model(
        trained_network(network, **overrides), tmp_path / "net.pt2", format="torch-export", precision=precision
    ).path  # type: ignore[arg-type]
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    ours = open_engine(path).logits(inputs)
    monkeypatch.setenv("RESNETS_TRUST", "1")
    graph = open_engine(path).logits(inputs)
    limit = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 5e-2}[precision]
    assert (ours - graph).abs().max() <= limit * graph.abs().max()


def test_images_as_decoders_give_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnets.data.decoding.preprocessing import Preprocessing

    network = trained_network()
    network.preprocessing = Preprocessing(size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    path = export_model(network, tmp_path / "net.pt2", format="torch-export", uint8=True).path
    pixels = torch.randint(256, (2, 32, 32, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    ours = open_engine(path).outputs(pixels)
    monkeypatch.setenv("RESNETS_TRUST", "1")
    graph = open_engine(path).outputs(pixels)
    assert torch.equal(ours[0], graph[0])
    torch.testing.assert_close(ours[1], graph[1])


@pytest.mark.parametrize("place", ["weights.bin", "../secret.bin", "/etc/hostname"])
def test_an_onnx_graph_reads_no_other_file(tmp_path: Path, place: str) -> None:
    """Both runtimes follow names of external data out of the folder."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    path = export_model(trained_network(), tmp_path / "net.onnx", format="onnx").path
    model = onnx.load(path)
    weight = next(each for each in model.graph.initializer if len(each.raw_data) > 1000)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=place)
    plain = model.SerializeToString()
    assert plain.count(b"\x08location") == 1
    longer = plain.replace(b"\x08location", b"\x88\x00location")  # a length in two bytes: readers see no difference in it alone
    for content in (plain, longer):
        (tmp_path / "trap.onnx").write_bytes(content)
        refused_by_every_engine(tmp_path / "trap.onnx")


def refused_by_every_engine(path: Path) -> None:
    for engine in ("auto", "onnxruntime", "openvino"):
        with pytest.raises(ValueError, match=r"trap\.onnx keeps data in other files"):
            open_engine(path, engine=engine)  # type: ignore[arg-type]


def test_a_graph_without_some_of_its_tensors_is_refused(tmp_path: Path) -> None:
    network = trained_network(norm="frozen-batch")
    path = export_model(network, tmp_path / "net.pt2", format="torch-export").path
    with zipfile.ZipFile(path) as old:
        members = [(member, old.read(member)) for member in old.namelist()]

    def without_first(table: Any) -> None:
        table["config"].pop(next(iter(table["config"])))

    path.write_bytes(written(change(members, "model_weights_config.json", without_first)))
    with pytest.raises(ValueError, match="is missing"):
        open_engine(path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("openvino")
    return export_model(trained_network(), tmp_path_factory.mktemp("pair") / "net.xml", format="openvino").path


_LAUGHS = "".join(f'<!ENTITY {"abcdefghi"[i]} "{("&" + "zabcdefgh"[i] + ";") * 10}">' for i in range(9))
XML: dict[str, tuple[Callable[[str], str], str]] = {
    "entities in entities": (
        lambda text: text.replace("<net ", f'<!DOCTYPE l [<!ENTITY z "ha">{_LAUGHS}]><net ', 1).replace("Model0", "&i;"),
        "declares a document type",
    ),
    "a file as an entity": (
        lambda text: text.replace("<net ", '<!doctype l [<!ENTITY e SYSTEM "file:///etc/passwd">]><net ', 1),
        "declares a document type",
    ),
    "entities in another encoding": (
        lambda text: text.replace("<net ", '<!DOCTYPE l [<!ENTITY z "ha">]><net ', 1).replace('<?xml version="1.0"?>', ""),
        "is no text in UTF-8",
    ),
    "weights beyond the file": (lambda text: text.replace('offset="0" size', 'offset="99999999999" size', 1), "damaged"),
    "weights before the file": (lambda text: text.replace('offset="0" size', 'offset="-1728" size', 1), "damaged"),
    "weights of any size": (lambda text: text.replace('offset="0" size="', 'offset="0" size="9999999', 1), "damaged"),
    "a huge constant": (lambda text: text.replace('shape="16, 3, 3, 3"', 'shape="99999999, 99999999, 3, 3"', 1), "damaged"),
    "an unknown set of operations": (lambda text: text.replace('version="opset1"', 'version="evil"', 1), "damaged"),
    "an operation that ours do not have": (
        lambda text: text.replace('type="ReLU"', 'type="Erf"'),
        "the operation 'Erf', which no network",
    ),
    "a hundred thousand levels": (lambda text: text.replace("<layers>", "<a>" * 100_000 + "<layers>", 1), "damaged"),
    "no description": (lambda text: text.replace("<resnets>", "<others>").replace("</resnets>", "</others>"), "was not written by"),
    "a huge spec": (lambda text: text.replace("&quot;blocks&quot;:[1,1,1]", "&quot;blocks&quot;:[1000000000]"), "RESNETS_LIMITS"),
}


@pytest.mark.parametrize("name", XML)
def test_an_openvino_graph_of_a_stranger_is_refused(pair: Path, tmp_path: Path, name: str) -> None:
    edit, reason = XML[name]
    text = pair.read_text()
    changed = edit(text)
    assert changed != text
    (tmp_path / "net.xml").write_text(changed, encoding="utf-16" if "encoding" in name else "utf-8")
    (tmp_path / "net.bin").write_bytes(pair.with_suffix(".bin").read_bytes())
    with pytest.raises(ValueError, match=reason):
        open_engine(tmp_path / "net.xml", threads=1)


def grown(pair: Path, folder: Path, kind: str) -> Path:
    """The graph with a result whose size follows from the inputs' size alone, and is immense for ordinary ones."""
    import numpy as np
    import openvino
    from openvino import opset13 as op

    model = openvino.Core().read_model(pair)
    images = model.get_parameters()[0]
    relu = next(operation for operation in model.get_ordered_ops() if operation.get_type_name() == "Relu").output(0)
    readers = list(relu.get_target_inputs())
    if kind == "padded":
        side = op.gather(op.shape_of(images), op.constant(np.array([2])), op.constant(np.int64(0)))
        pads = op.concat([op.constant(np.zeros(2, np.int64)), *[op.multiply(side, op.constant(np.array([100_000])))] * 2], 0)
        large = op.pad(relu, pads, pads, "constant", op.constant(np.float32(0)))
        axes = [2, 3]
    else:  # every pixel by every pixel
        column = op.reshape(images, op.constant(np.array([-1, 1])), False)
        column = op.concat([column] * 1_000, 0)
        large, axes = op.matmul(column, column, False, True), [0, 1]
    mean = op.reduce_mean(large, op.constant(np.array(axes)), kind == "padded")
    total = op.add(relu, mean)
    for reader in readers:
        reader.replace_source_output(total.output(0))
    openvino.save_model(model, folder / "net.xml", compress_to_fp16=False)
    return folder / "net.xml"


@pytest.mark.parametrize("kind", ["padded", "multiplied"])
def test_results_that_grow_with_the_inputs_are_bounded(pair: Path, tmp_path: Path, kind: str) -> None:
    engine = open_engine(grown(pair, tmp_path, kind), threads=1)
    with pytest.raises(ValueError, match=r"for inputs of shape \(2, 3, 32, 32\), a result of bytes: .*RESNETS_LIMITS=10"):
        engine.outputs(INPUTS)


def test_a_graph_with_other_logits_than_it_says_is_refused(pair: Path, tmp_path: Path) -> None:
    text = pair.read_text()
    (tmp_path / "net.xml").write_text(
        text.replace("&quot;num_classes&quot;:3", "&quot;num_classes&quot;:4").replace(
            "[&quot;a&quot;", "[&quot;z&quot;, &quot;a&quot;"
        )
    )
    (tmp_path / "net.bin").write_bytes(pair.with_suffix(".bin").read_bytes())
    engine = open_engine(tmp_path / "net.xml", threads=1)
    with pytest.raises(ValueError, match=r"gives \[2, 3\] for 2 images of 4 classes"):
        engine.outputs(INPUTS)


@pytest.mark.parametrize("weights", [b"", b"\0" * 10, None])
def test_weights_that_are_cut_short_or_missing_are_refused(pair: Path, tmp_path: Path, weights: bytes | None) -> None:
    (tmp_path / "net.xml").write_text(pair.read_text())
    if weights is not None:
        (tmp_path / "net.bin").write_bytes(weights)
    with pytest.raises((ValueError, OSError), match=r"net\.(xml|bin)"):
        open_engine(tmp_path / "net.xml", threads=1)


def test_a_sound_pair_still_gives_its_logits(pair: Path) -> None:
    found = open_engine(pair, threads=1).outputs(INPUTS)[0]
    torch.testing.assert_close(found, trained_network()(INPUTS), rtol=1e-4, atol=1e-4)


def test_who_is_trusted_is_asked_in_one_way(pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument and the variable permit the same, for every kind of file."""
    (tmp_path / "net.xml").write_text(pair.read_text().replace('type="ReLU"', 'type="Erf"'))
    (tmp_path / "net.bin").write_bytes(pair.with_suffix(".bin").read_bytes())
    with pytest.raises(ValueError, match="trust=True"):
        open_engine(tmp_path / "net.xml", threads=1)
    given = open_engine(tmp_path / "net.xml", threads=1, trust=True).outputs(INPUTS)[0]
    monkeypatch.setenv("RESNETS_TRUST", "1")
    assert torch.equal(given, open_engine(tmp_path / "net.xml", threads=1).outputs(INPUTS)[0])


def test_trust_from_python_runs_the_graph(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    load = torch.export.load
    monkeypatch.setattr(torch.export, "load", lambda *arguments, **named: ran.append(1) or load(*arguments, **named))
    data = open_engine(archive).outputs(INPUTS)[0]
    assert not ran
    graph = open_engine(archive, trust=True).outputs(INPUTS)[0]
    assert ran
    torch.testing.assert_close(data, graph, rtol=1e-5, atol=1e-5)


def test_a_graph_of_somebody_else_is_named_with_a_command_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torchvision = pytest.importorskip("torchvision")
    from resnets.cli import main

    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=3).eval()
    images = torch.randn(1, 3, 64, 64)
    path = tmp_path / "their own.pt2"
    torch.export.save(torch.export.export(theirs, (images,)), path)
    PIL.Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    assert main(["predict", str(path), str(tmp_path / "x.png")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    with pytest.raises(ValueError, match="was not written by `resnets export`") as caught:
        open_engine(path)
    command = str(caught.value).rpartition("take its weights: ")[2]
    assert command in said
    # The environment of these tests, where neither command need be on the path.
    sources = Path(resnets.__file__).parent.parent
    resnets_command = f"{shlex.quote(sys.executable)} -c 'import sys; from resnets.cli import main; sys.exit(main())'"
    functions = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}; resnets() {{ {resnets_command} "$@"; }}; '
    monkeypatch.setenv("PYTHONPATH", str(sources))
    done = subprocess.run(["bash", "-c", functions + command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = resnets.load_model(tmp_path / "their own.safetensors").eval()
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"no zip"])
def test_a_damaged_archive_is_named_with_the_command_that_writes_it(
    archive: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "net.pt2").write_bytes(damage(archive.read_bytes()))
    with pytest.raises(
        ValueError, match=r"write it anew from its model: resnets export MODEL --format torch-export --output \S+net\.pt2$"
    ):
        open_engine(tmp_path / "net.pt2")
