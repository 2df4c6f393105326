"""Other packages' networks by name, and their cost by the same count as ours."""

import sys

import pytest
import torch
import torchvision

from resnets.inspection.zoo_costs import zoo_cost
from resnets.weights import foreign_network as module
from resnets.weights.foreign_network import foreign_cost, foreign_network, list_foreign


@pytest.mark.parametrize(("name", "ours"), [("torchvision/resnet50", "resnet50"), ("timm/resnet50d", "resnet50-d")])
def test_the_same_network_costs_the_same(name: str, ours: str) -> None:
    """Ours are counted by hooks on the layers, others by torch's counter of operations: the numbers have to agree."""
    assert foreign_cost(name) == (*zoo_cost(ours), 224)


@pytest.mark.parametrize("name", ["vgg19", "googlenet", "mobilenet_v2", "vit_b_16", "efficientnet_b1"])
def test_costs_are_those_that_torchvision_states(name: str) -> None:
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    parameters, macs, size = foreign_cost(f"torchvision/{name}")
    assert parameters == meta["num_params"]
    assert size == torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    assert macs / 1e9 == pytest.approx(meta["_ops"], abs=0.0006)


def test_networks_run() -> None:
    network = foreign_network("torchvision/googlenet").eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


def test_unknown_names_and_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"torchvision has no network named 'vgg20'; did you mean torchvision/vgg1"):
        foreign_network("torchvision/vgg20")
    with pytest.raises(ValueError, match=r"'keras/vgg19' is of no package.*torchvision/NAME or timm/NAME"):
        foreign_cost("keras/vgg19")
    assert list_foreign("torchvision/vgg1?") == [f"torchvision/vgg{d}" for d in (11, 13, 16, 19)]
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    module._names.cache_clear()
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="timm is not installed; pip install timm"):
        foreign_network("timm/resnet50")
    module._names.cache_clear()
