"""Grad-CAM against arithmetic by hand and against torchvision's network with hooks."""

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

import resnets
from resnets.inspection.grad_cam import grad_cam
from resnets.networks import Network


def make_images(count: int, channels: int, size: int) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def scaled(heat: Tensor, size: int) -> Tensor:
    """Enlarges maps (N, h, w) and divides each by its maximum, image by image."""
    large = functional.interpolate(heat[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
    return torch.stack([one / one.max() if one.max() > 0 else one for one in large])


def by_hooks(network: nn.Module, module: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    """Grad-CAM as the paper's own code has it: hooks catch a module's output and the gradient that arrives at it."""
    caught: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, output: caught.update(map=output.detach().clone())),
        module.register_full_backward_hook(lambda _m, _i, gradients: caught.update(gradient=gradients[0].clone())),
    ]
    network.zero_grad()
    logits = network(images)
    functional.one_hot(target, logits.shape[1]).mul(logits).sum().backward()
    for handle in handles:
        handle.remove()
    network.zero_grad()
    weights = caught["gradient"].mean((2, 3))
    return scaled(torch.einsum("nc,nchw->nhw", weights, caught["map"]).clamp(min=0), images.shape[-1])


def randomized(network: Network) -> Network:
    """In evaluation mode, with norms that do something: running statistics and gains as of a trained network."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator) * 0.1
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
            module.weight.data.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return network.eval()


@pytest.mark.parametrize(("stage", "module"), [(None, "layer4"), ("conv4_x", "layer3"), ("conv2_x", "layer1")])
def test_the_same_as_torchvisions_network_with_hooks(stage: str | None, module: str) -> None:
    torch.manual_seed(0)
    ours = randomized(resnets.create_model("resnet18", num_classes=7))
    theirs = torchvision.models.resnet18(num_classes=7).eval()
    theirs.load_state_dict(resnets.weights.convert(ours.state_dict(), source="resnets", target="torchvision", spec=ours.spec))
    images, target = make_images(3, 3, 96), torch.tensor([6, 0, 3])
    expected = by_hooks(theirs, getattr(theirs, module), images, target)
    found = grad_cam(ours, images, target, stage)
    assert found.shape == (3, 96, 96)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert set(found.amax((1, 2)).tolist()) in ({1.0}, {0.0, 1.0})  # 0 where nothing supports the class
    assert (found >= 0).all()


def test_after_a_linear_classifier_it_is_the_class_weighted_sum_of_the_maps() -> None:
    # y^c = sum_k w_k^c mean_ij A^k_ij, so that alpha_k^c = w_k^c / Z (the paper's section 3.1: CAM is the special case).
    network = randomized(resnets.create_model("cifar-resnet8", num_classes=5))
    assert isinstance(network.head.fc, nn.Linear)
    with torch.no_grad():
        network.head.fc.weight.copy_(torch.linspace(-1, 1, network.head.fc.weight.numel()).view_as(network.head.fc.weight))
    images = make_images(2, 3, 32)
    with torch.no_grad():
        maps = network.features(images)["conv4_x"]
        weighted = (network.head.fc.weight[4][:, None, None] * maps).sum(1)
    torch.testing.assert_close(grad_cam(network, images, 4), scaled(weighted.clamp(min=0), 32), rtol=1e-4, atol=1e-5)


def test_by_hand() -> None:
    """Two channels, four positions, one class: the stage's map is set, so that every number can be followed."""
    network = resnets.create_model("cifar-resnet8:width=2,stem_width=2", in_channels=1, num_classes=2, input_size=8)
    fixed = torch.tensor([[[[4.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 3.0]], *[[[0.0] * 2] * 2] * 6]])

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return fixed + 0 * x.sum()

    network.conv4_x = Fixed()
    assert isinstance(network.head.fc, nn.Linear)
    with torch.no_grad():
        network.head.fc.weight.zero_()
        network.head.fc.weight[0, :2] = torch.tensor([2.0, -4.0])
    # alpha = (2, -4) / 4; the weighted sum is [[2, -2], [-0.5, -3]], its ReLU [[2, 0], [0, 0]], which divided by 2 is 1 in a corner.
    # At 8 x 8 the pixels' centres are at (i + 1/2) / 4 - 1/2 = -3/8, -1/8, 1/8, 3/8, ... of the map's: 1 at and outside the first
    # centre, then falling by 1/4 per pixel, in each direction.
    ramp = torch.tensor([1.0, 1.0, 0.875, 0.625, 0.375, 0.125, 0.0, 0.0])
    torch.testing.assert_close(grad_cam(network, torch.ones(1, 1, 8, 8), 0), (ramp[:, None] * ramp)[None])
    assert (grad_cam(network, torch.ones(1, 1, 8, 8), 1) == 0).all()  # nothing supports a class whose weights are 0


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("cifar-plain20", 32),
        ("cifar-preact-resnet110:blocks=[2,2,2]", 32),
        ("cifar-resnet20:activation_order=bn-after-addition", 32),
        ("cifar-resnet20:activation_order=relu-before-addition", 32),
        ("cifar-resnet20:activation_order=relu-only-preactivation", 32),
        ("preact-resnet50:blocks=[1,2,1,1]", 64),
        ("se-resnet50:blocks=[1,2,1,1]", 64),
        ("inception-resnet-v2:blocks=[1,1,1]", 96),
        ("inception-v4:blocks=[1,1,1]", 96),
    ],
)
def test_every_kind_of_network_at_every_stage(name: str, size: int) -> None:
    torch.manual_seed(2)
    network = randomized(resnets.create_model(name, num_classes=4))
    images, target = make_images(1, 3, size), torch.tensor([1])
    for stage in network.stage_names:
        module = getattr(network, stage) if stage != network.stage_names[-1] or not network.spec.final_width else network.final
        expected = by_hooks(network, module, images, target)
        torch.testing.assert_close(grad_cam(network, images, target, stage), expected, rtol=1e-3, atol=1e-3)


def test_other_dimensions() -> None:
    signal = randomized(resnets.create_model("cifar-resnet8", dims=1, in_channels=2, num_classes=3))
    assert grad_cam(signal, torch.randn(2, 2, 64)).shape == (2, 64)
    volume = randomized(resnets.create_model("cifar-resnet8", dims=3, in_channels=1, num_classes=3))
    assert grad_cam(volume, torch.randn(1, 1, 8, 8, 8), stage="conv1").shape == (1, 8, 8, 8)


def test_the_network_is_left_as_it_was_and_the_class_defaults_to_the_one_taken() -> None:
    network = randomized(resnets.create_model("cifar-resnet8", num_classes=5)).train()
    network.conv1.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = make_images(2, 3, 32)
    found = grad_cam(network, images)
    assert network.training
    assert network.conv2_x.training
    assert not network.conv1.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not images.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with torch.inference_mode():
        taken = network.eval()(images).argmax(1)
        assert torch.equal(grad_cam(network, images, taken), found)  # in inference mode, too
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(grad_cam(network, images, taken.clone()), found)  # and with frozen weights


def test_wrong_requests() -> None:
    network, images = resnets.create_model("cifar-resnet8", num_classes=5), make_images(2, 3, 32)
    with pytest.raises(ValueError, match="no stage 'conv5_x'; this network has conv1, conv2_x, conv3_x, conv4_x"):
        grad_cam(network, images, stage="conv5_x")
    with pytest.raises(ValueError, match="from 0 to 4, not from 1 to 5"):
        grad_cam(network, images, torch.tensor([1, 5]))
    with pytest.raises(ValueError, match="each of the 2 images, not of shape"):
        grad_cam(network, images, torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match="head gives classes"):
        grad_cam(resnets.create_model("cifar-resnet8", num_classes=0), images)
