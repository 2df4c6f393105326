"""Weights of segmenters: files, other numbers of classes, trunks, and what does not fit. Nothing is fetched."""

import logging
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from resnets.networks import build, get_spec
from resnets.segmentation import create_segmenter, get_segmenter_spec
from resnets.segmentation.weights import list_segmenter_weights, load_pretrained_segmenter
from resnets.weights import WeightsUnavailable
from resnets.weights.layouts import convert, layout_keys

SMALL = "fcn-resnet50"


def small_peer(**options: object) -> nn.Module:
    """torchvision's FCN on its smallest trunk of bottlenecks."""
    trunk = torchvision.models.resnet.ResNet(
        torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True]
    )
    maps = torchvision.models._utils.IntermediateLayerGetter(trunk, {"layer3": "aux", "layer4": "out"})
    head = torchvision.models.segmentation.fcn.FCNHead
    return torchvision.models.segmentation.FCN(maps, head(2048, 4), head(1024, 4))


SPEC = get_segmenter_spec(SMALL, blocks=(1, 1, 1, 1), num_classes=4)


@pytest.fixture(scope="module")
def peer() -> nn.Module:
    torch.manual_seed(0)
    return small_peer().eval()


@pytest.fixture(scope="module")
def file(peer: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "fcn.pth"
    torch.save(peer.state_dict(), path)
    return path


def make_images() -> Tensor:
    return torch.randn(1, 3, 33, 25, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["fcn_resnet101", "deeplabv3_resnet50"])
def test_every_key_of_torchvisions_has_its_place(name: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=True).state_dict()
    spec = get_segmenter_spec(name.replace("_", "-"))
    assert set(layout_keys("torchvision", spec).values()) == set(theirs)


def test_missing_left_over_and_misshapen_tensors_are_named(peer: nn.Module) -> None:
    state = dict(peer.state_dict())
    for change, message in (
        ({"classifier.9.weight": torch.zeros(1)}, "left over: classifier.9.weight"),
        (
            {"classifier.4.bias": torch.zeros(7)},
            r"classifier.4.bias is \(7,\) where the spec's head.classifier.bias makes it \(4,\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            convert({**state, **change}, spec=SPEC)
    del state["backbone.layer1.0.conv1.weight"], state["aux_classifier.1.num_batches_tracked"]
    with pytest.raises(ValueError, match=r"missing: backbone\.layer1\.0\.conv1\.weight$"):  # the counter may be absent
        convert(state, spec=SPEC)
    with pytest.raises(ValueError, match="no layout 'timm' of segmenters"):
        convert(state, spec=SPEC, source="timm")
    with pytest.raises(ValueError, match="torchvision has no network with shortcut='A'"):
        layout_keys("torchvision", get_segmenter_spec("fcn-cifar-resnet20"))


def test_a_file_of_torchvisions(peer: nn.Module, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    segmenter = create_segmenter(SPEC, weights=file)
    assert not segmenter.training
    assert not caplog.records
    with torch.inference_mode():
        torch.testing.assert_close(segmenter(make_images()), dict(peer(make_images())), rtol=1e-4, atol=1e-4)
        named = create_segmenter(SMALL, blocks=(1, 1, 1, 1), weights=file)  # the number of classes follows the file
        torch.testing.assert_close(named.logits(make_images()), segmenter.logits(make_images()))


def test_a_file_of_ours(file: Path, tmp_path: Path) -> None:
    segmenter = create_segmenter(SPEC, weights=file)
    save_file(segmenter.state_dict(), tmp_path / "a.safetensors")
    again = create_segmenter(SPEC, weights=tmp_path / "a.safetensors")
    assert all(torch.equal(value, segmenter.state_dict()[name]) for name, value in again.state_dict().items())


def test_another_number_of_classes_gets_fresh_classifiers(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(5)
    segmenter, before = create_segmenter(SPEC, num_classes=3, weights=file), create_segmenter(SPEC, weights=file)
    assert caplog.messages == [f"{file}: the weights are for 4 classes; the classifiers are freshly initialised for 3, train them"]
    assert segmenter(make_images())["aux"].shape == (1, 3, 33, 25)
    for name, value in before.state_dict().items():
        assert ("classifier" in name) != torch.equal(segmenter.state_dict()[name], value) or value.dim() == 0


def test_the_auxiliary_head_can_be_left_off_and_added(file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alone = create_segmenter(SPEC, auxiliary=False, weights=file)
    assert list(alone(make_images())) == ["out"]
    assert "auxiliary head was left off" in caplog.messages[0]
    save_file(alone.state_dict(), tmp_path / "alone.safetensors")
    with caplog.at_level(logging.WARNING, "resnets"):
        both = load_pretrained_segmenter(SPEC, tmp_path / "alone.safetensors")
    assert "no auxiliary head; it is freshly initialised" in caplog.messages[1]
    with torch.inference_mode():
        torch.testing.assert_close(both.logits(make_images()), alone.logits(make_images()))


def test_a_trunk_with_weights_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(1)
    classifier = build(get_spec("cifar-resnet8", num_classes=7))
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    torch.save(classifier.state_dict(), tmp_path / "trunk.pt")
    segmenter = create_segmenter("fcn-cifar-resnet8:num_classes=5", network_weights=tmp_path / "trunk.pt")
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        expected = classifier.eval().features(images)["conv4_x"]
        torch.testing.assert_close(segmenter.eval().network.features(images)["conv4_x"], expected)


def test_wrong_requests(tmp_path: Path, file: Path) -> None:
    with pytest.raises(ValueError, match=r"is neither a file nor a name: did you mean 'coco-with-voc-labels-v1'"):
        create_segmenter("fcn-resnet50", weights="coco-with-voc-label")
    with pytest.raises(ValueError, match="no weights 'coco-with-voc-labels-v1' for fcn-resnet18; there are fcn-resnet50/"):
        create_segmenter("fcn-resnet18", weights="coco-with-voc-labels-v1")
    with pytest.raises(ValueError, match="give one of the two"):
        create_segmenter(SPEC, weights=file, network_weights="imagenet1k-v2")
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"holds no segmenter: .* given as network_weights="):
        create_segmenter(SPEC, weights=tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"fcn\.pth: .*missing: backbone\.layer1\.1"):
        create_segmenter("fcn-resnet50", weights=file)


def test_torchvisions_weights_are_known_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    monkeypatch.setenv("RESNETS_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    known = list_segmenter_weights()
    assert set(known) == {
        f"{head}-{trunk}/coco-with-voc-labels-v1" for head in ("fcn", "deeplabv3") for trunk in ("resnet50", "resnet101")
    }
    with pytest.raises(WeightsUnavailable, match=r"deeplabv3_resnet101_coco-586e9e4e\.pth.*RESNETS_OFFLINE"):
        create_segmenter("deeplabv3-resnet101", weights="COCO_WITH_VOC_LABELS_V1")


def test_torchvisions_weights_bring_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry's file is replaced by one of random weights, as if it had been fetched."""
    from resnets.segmentation import weights

    theirs = torchvision.models.get_model("fcn_resnet50", weights=None, weights_backbone=None, aux_loss=True)
    torch.save(theirs.state_dict(), tmp_path / "fcn.pth")
    monkeypatch.setattr(
        weights, "fetched", lambda url: tmp_path / "fcn.pth" if url.endswith("fcn_resnet50_coco-1167a1af.pth") else None
    )
    segmenter = create_segmenter("fcn-resnet50", weights="fcn-resnet50/coco-with-voc-labels-v1")
    assert segmenter.classes is not None
    assert (len(segmenter.classes), segmenter.classes[0], segmenter.classes[-1]) == (20, "aeroplane", "tvmonitor")
    assert create_segmenter("fcn-resnet50", num_classes=4, weights="coco-with-voc-labels-v1").classes is None
