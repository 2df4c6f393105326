"""Files of other packages: every format, layout and configuration read back to the same network."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from peers import make_images, on_meta, randomized, transformers_network
from safetensors.torch import save_file

from resnets.core.safe_pickle import read_array_pickle
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.networks import NetworkSpec, build, get_spec
from resnets.weights import caffe
from resnets.weights.foreign_file import detect_layout, detect_spec, read_foreign, read_tensors
from resnets.weights.hub import read_folder
from resnets.weights.layouts import LAYOUTS, convert

SMALL = "resnet18:width=8,stem_width=8"
"""A network whose files are small; it has no peer, so that readings name it."""


def small_state(layout: str, name: str = SMALL, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    spec = get_spec(name)
    return convert(build(spec).state_dict(), spec=spec, source="resnets", target=layout)


# Formats ---------------------------------------------------------------------------------------


def as_safetensors(state: dict[str, torch.Tensor], folder: Path) -> Path:
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "w.safetensors")
    return folder / "w.safetensors"


def as_pth(state: dict[str, torch.Tensor], folder: Path) -> Path:
    torch.save({"state_dict": OrderedDict(state), "epoch": 3}, folder / "w.pth")
    return folder / "w.pth"


def as_old_pth(state: dict[str, torch.Tensor], folder: Path) -> Path:
    torch.save({f"module.{k}": v for k, v in state.items()}, folder / "w.pt", _use_new_zipfile_serialization=False)
    return folder / "w.pt"


def as_pickle(protocol: int) -> Callable[[dict[str, torch.Tensor], Path], Path]:
    def write(state: dict[str, torch.Tensor], folder: Path) -> Path:
        arrays = OrderedDict((k, v.numpy()) for k, v in state.items())
        content = {"model": arrays, "__author__": "a test", "matching_heuristics": True}
        (folder / "w.pkl").write_bytes(pickle.dumps(content, protocol))
        return folder / "w.pkl"

    return write


@pytest.mark.parametrize("write", [as_safetensors, as_pth, as_old_pth, *(as_pickle(p) for p in (0, 2, 4, 5))])
def test_every_format_gives_the_same_tensors(tmp_path: Path, write: Callable[[dict[str, torch.Tensor], Path], Path]) -> None:
    state = small_state("detectron2")
    read = read_tensors(write(state, tmp_path))
    assert list(read) == list(state) or set(read) == set(state)
    for name, value in state.items():
        assert torch.equal(read[name], value), name


def test_arrays_keep_order_type_and_byte_order(tmp_path: Path) -> None:
    arrays = {
        "fortran": np.asfortranarray(np.arange(6, dtype="f8").reshape(2, 3)),
        "big": np.arange(4, dtype=">i4"),
        "half": np.array([1.5, -2], "f2"),
        "empty": np.zeros((0, 3), "f4"),
        "scalar": np.array(7, "i8"),
        "flags": np.array([True, False]),
    }
    for protocol in (0, 2, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol))
        read = read_array_pickle(tmp_path / "a.pkl")
        for name, array in arrays.items():
            assert read[name].shape == array.shape
            assert read[name].dtype == array.dtype.newbyteorder("=")
            np.testing.assert_array_equal(read[name], array)


def test_a_python_2_pickle_is_read(tmp_path: Path) -> None:
    """Bytes are `str` there, which protocol 2 writes as a byte string (opcode U)."""
    raw = np.array([1.0, -2.0], "<f4").tobytes()
    stream = (
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
        b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(raw)]) + raw + b"tbs."
    )  # fmt: skip
    (tmp_path / "a.pkl").write_bytes(stream)
    assert read_array_pickle(tmp_path / "a.pkl")["a"].tolist() == [1.0, -2.0]


# Layouts and networks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "peer"),
    [
        ("torchvision", "resnet18"), ("torchvision", "resnext50_32x4d"), ("torchvision", "wide_resnet50_2"), ("timm", "resnet50d"),
        ("timm", "seresnet18"), ("timm", "resnetv2_50"), ("timm", "inception_v4"), ("timm", "resnet26"), ("timm", "resnet50_gn"),
        ("transformers", "resnet-34"), ("detectron2", "FAIR/X-101-32x8d"),
    ],
)  # fmt: skip
def test_layout_and_network_are_recognised(layout: str, peer: str) -> None:
    spec = get_spec(LAYOUTS[layout].peers[peer]).updated(num_classes=7, in_channels=4)
    with torch.device("meta"):
        state = convert(build(spec).state_dict(), spec=spec, source="resnets", target=layout)
        found = detect_layout(state)
        # timm's plain ResNets are torchvision's by name
        assert found == (layout if peer not in ("resnet26", "resnet50_gn") else "torchvision")
        assert detect_spec(found, state).updated(norm=spec.norm) == spec


def test_a_file_of_two_possible_networks_has_to_be_named() -> None:
    spec = get_spec("resnet50-v1:norm=frozen-batch")
    with torch.device("meta"):
        state = convert(build(spec).state_dict(), spec=spec, source="resnets", target="detectron2")
        with pytest.raises(ValueError, match=r"resnet50-v1.*and of resnet50:.*name the network"):
            detect_spec("detectron2", state)
        assert detect_spec("detectron2", state, "MSRA/R-50").bottleneck_stride == "1x1"
        assert detect_spec("detectron2", state, "resnet50").bottleneck_stride == "3x3"


def test_left_over_and_missing_tensors_are_errors(tmp_path: Path) -> None:
    state = small_state("detectron2")
    extra = as_pth({**state, "extra.weight": torch.zeros(1)}, tmp_path)
    with pytest.raises(ValueError, match=r"w\.pth: .*left over: extra\.weight"):
        read_foreign(extra, network=SMALL)
    del state["stem.conv1.norm.bias"]
    with pytest.raises(ValueError, match=r"missing: stem\.conv1\.norm\.bias"):
        read_foreign(as_pth(state, tmp_path), network=SMALL)


def test_unknown_names_and_other_content_are_errors(tmp_path: Path) -> None:
    torch.save({"backbone.layer7.weight": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"no known layout: .*backbone"):
        read_foreign(tmp_path / "a.pth")
    torch.save({"state_dict": {"a": torch.zeros(1), "b": "text"}}, tmp_path / "b.pth")
    assert list(read_tensors(tmp_path / "b.pth")) == ["a"]  # other values beside the tensors do not matter
    torch.save([torch.zeros(1)], tmp_path / "c.pth")
    with pytest.raises(ValueError, match=r"no known layout: 0"):
        read_foreign(tmp_path / "c.pth")
    torch.save({"epoch": 3}, tmp_path / "d.pth")
    with pytest.raises(ValueError, match=r"d\.pth holds no tensors"):
        read_tensors(tmp_path / "d.pth")
    with pytest.raises(ValueError, match=r"no layout 'tensorflow'; the layouts are resnets, caffe, torchvision"):
        read_foreign(as_pth(small_state("detectron2"), tmp_path), layout="tensorflow", network=SMALL)
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        read_foreign(tmp_path / "absent.pth")


@pytest.mark.parametrize("ending", [".pth", ".pkl", ".safetensors", ".bin"])
@pytest.mark.parametrize("content", [b"", b"\x80\x02}q\x00(X", b"PK\x03\x04 not a zip", b"<html>not found</html>"])
def test_damaged_files_are_one_clear_error(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"w{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"w{ending}"):
        read_tensors(path)


def test_the_backbone_of_a_detector_is_cut_out_by_its_prefix(tmp_path: Path) -> None:
    state = small_state("detectron2", SMALL + ",num_classes=0")
    detector = {f"backbone.bottom_up.{k}": v for k, v in state.items()} | {"roi_heads.box.weight": torch.zeros(2)}
    path = as_pickle(4)(detector, tmp_path)
    read = read_foreign(path, layout="detectron2", network=SMALL, prefix="backbone.bottom_up.")
    assert read.spec.num_classes == 0
    assert "1 tensors outside 'backbone.bottom_up.' were left out (roi_heads)" in read.notes[0]
    with pytest.raises(ValueError, match="no tensor"):
        read_foreign(path, prefix="other.")


# Caffe2 ----------------------------------------------------------------------------------------

CAFFE_LEAVES = {"weight": "w", "bias": "b", "norm.weight": "bn_s", "norm.bias": "bn_b"}


def caffe_blobs(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """detectron2's names turned into Caffe2's, norms folded into scale and shift, colours turned."""
    back = {new: old for old, new in caffe._BRANCHES.items()}
    blobs = {}
    for name, value in state.items():
        module, leaf = next((name[: -len(leaf) - 1], leaf) for leaf in sorted(CAFFE_LEAVES, key=len)[::-1] if name.endswith("." + leaf)) \
            if name.rpartition(".")[2] in ("weight", "bias") else (name, "")  # fmt: skip
        if not leaf:
            continue
        if leaf.startswith("norm"):
            var, mean = state[f"{module}.norm.running_var"], state[f"{module}.norm.running_mean"]
            scale = state[f"{module}.norm.weight"] / (var + 1e-5).sqrt()
            value = scale if leaf == "norm.weight" else value - mean * scale
        parts = module.split(".")
        if parts[0] == "stem":
            blob = f"{'res_' if leaf.startswith('norm') else ''}conv1_{CAFFE_LEAVES[leaf]}"
            value = value.flip(1) if leaf == "weight" else value
        elif parts[0] == "linear":
            blob = f"fc1000_{CAFFE_LEAVES[leaf]}"
        else:
            blob = f"{parts[0]}_{parts[1]}_{back[parts[2]]}_{CAFFE_LEAVES[leaf]}"
        blobs[blob] = value.numpy()
    return blobs


def test_caffe_blobs_give_the_same_network(tmp_path: Path) -> None:
    spec = get_spec("resnet50-v1:width=8,stem_width=8,num_classes=5")
    peer = randomized(on_meta(lambda: build(spec)))
    state = convert(peer.state_dict(), spec=spec, source="resnets", target="detectron2")
    blobs = caffe_blobs(state)
    assert "res2_0_branch1_bn_s" in blobs
    assert "res_conv1_bn_b" in blobs
    bias = np.linspace(-1, 1, 8)
    # Caffe's own conv1 has a bias, which the shift after it must then be without.
    blobs["res_conv1_bn_b"] = blobs["res_conv1_bn_b"] - blobs["res_conv1_bn_s"] * bias
    blobs |= {"conv1_b": bias, "conv1_w_momentum": np.zeros(1)}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"blobs": blobs}, 2))
    read = read_foreign(tmp_path / "R-50.pkl", network="resnet50-v1:width=8,stem_width=8")
    assert (read.layout, read.spec) == ("caffe", spec)
    assert "blue, green, red" in read.notes[0]
    ours = build(spec).double().eval()
    ours.load_state_dict(read.state)
    images = make_images(48, 48)
    torch.testing.assert_close(ours(images), peer(images), rtol=1e-9, atol=1e-9)
    assert read.preprocessing is not None
    pixels = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    expected = pixels.float().flip(1) - torch.tensor(caffe.BGR_MEAN).view(3, 1, 1)
    torch.testing.assert_close(read.preprocessing(pixels).flip(1), expected, rtol=1e-5, atol=1e-3)


def test_unknown_blobs_are_left_over(tmp_path: Path) -> None:
    blobs = caffe_blobs(small_state("detectron2")) | {"rpn_conv_w": np.zeros(2, "f4")}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(blobs, 2))
    with pytest.raises(ValueError, match="left over: rpn_conv_w"):
        read_foreign(tmp_path / "a.pkl", network=SMALL)


# Folders of timm and transformers ----------------------------------------------------------------


def timm_folder(folder: Path, **changes: Any) -> tuple[Path, torch.nn.Module]:
    """A folder as timm's push_to_hub writes it."""
    import json

    import timm

    torch.manual_seed(3)
    network = timm.create_model("resnet18", num_classes=4).eval()
    cfg = {"tag": "mine", "input_size": [3, 160, 160], "interpolation": "bicubic", "crop_pct": 0.95, "mean": [0.5, 0.4, 0.3],
           "std": [0.2, 0.2, 0.1], "num_classes": 4, "label_names": ["ant", "bee", "cat", "dog"]}  # fmt: skip
    config = {"architecture": "resnet18", "num_classes": 4, "num_features": 512, "pretrained_cfg": cfg, "license": "mit"}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder, network


def test_a_timm_folder(tmp_path: Path) -> None:
    folder, peer = timm_folder(tmp_path)
    read = read_folder(folder)
    assert read.spec == get_spec("resnet18", num_classes=4)
    assert read.classes == ("ant", "bee", "cat", "dog")
    assert read.preprocessing is not None
    assert read.preprocessing == Preprocessing(
        size=160, resize=168, interpolation="bicubic", channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1)
    )
    assert read.notes == ()
    assert read.provenance["license"] == "mit"
    ours = build(read.spec).eval()
    ours.load_state_dict(dict(read.state))
    images = make_images(64, 64).float()
    torch.testing.assert_close(ours(images), peer(images), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"no timm network named 'vit_tiny_patch16_224'"):
        read_folder(timm_folder(tmp_path, architecture="vit_tiny_patch16_224")[0])
    with pytest.raises(ValueError, match=r"for 4 classes, config\.json says 9"):
        read_folder(timm_folder(tmp_path, num_classes=9)[0])


@pytest.mark.parametrize("name", ["resnet-18", "resnet-26"])
def test_a_transformers_folder(tmp_path: Path, name: str) -> None:
    from transformers import ConvNextImageProcessor

    torch.manual_seed(4)
    peer = transformers_network(name, num_labels=3, depths=[1, 2, 1, 1], downsample_in_bottleneck=name == "resnet-26").eval()
    peer.save_pretrained(tmp_path)
    ConvNextImageProcessor(size={"shortest_edge": 96}, crop_pct=0.75, resample=2).save_pretrained(tmp_path)
    read = read_folder(tmp_path)
    assert read.spec.blocks == (1, 2, 1, 1)
    assert read.spec.bottleneck_stride == ("1x1" if name == "resnet-26" else "3x3")
    assert read.classes == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert read.preprocessing is not None
    assert (read.preprocessing.size, read.preprocessing.resize) == (96, 128)
    ours = build(read.spec).eval()
    ours.load_state_dict(dict(read.state))
    images = make_images(64, 64).float()
    torch.testing.assert_close(ours(images), peer(images).logits, rtol=1e-4, atol=1e-5)


def test_folders_of_anything_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ValueError, match=r"neither timm's .* 'vit'"):
        read_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "resnet18"}')
    with pytest.raises(ValueError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        read_folder(tmp_path)
    (tmp_path / "config.json").write_text("[1")
    with pytest.raises(ValueError, match="is not JSON"):
        read_folder(tmp_path)


def test_spec_of_a_named_network_takes_the_files_numbers() -> None:
    state = torchvision.models.resnet18(num_classes=3).state_dict()
    assert detect_spec("torchvision", state) == NetworkSpec(num_classes=3)
