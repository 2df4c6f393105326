"""Receptive fields: by hand, as published, and where the gradient of one position of a map really reaches."""

import pytest
import torch
from torch import nn

from resnets.inspection.receptive_field import receptive_fields
from resnets.networks import NetworkSpec, build, get_spec


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        # 7/2 sees 7; the pool adds 2 * 2; a 3x3 adds 2 * (stride so far): 4 * 8, then 8 + 3 * 16, 16 + 3 * 32, 32 + 3 * 64
        ("resnet18", [7, 11, 43, 99, 211, 435]),
        ("plain18", [7, 11, 43, 99, 211, 435]),
        ("resnet34", [7, 11, 59, 179, 547, 899]),
        # one 3x3 per unit: 3 * 8, then 8 + 3 * 16, 16 + 5 * 32, 32 + 2 * 64
        ("resnet50", [7, 11, 35, 91, 267, 427]),
        # stride in the first 1x1, so that every 3x3 works on the coarser map: 4 * 16, 6 * 32, 3 * 64
        ("resnet50-v1", [7, 11, 35, 99, 291, 483]),
        ("cifar-resnet20", [3, 15, 37, 81]),  # 6 * 2, then 2 + 5 * 4, 4 + 5 * 8
        ("resnet18:dims=1", [7, 11, 43, 99, 211, 435]),
        ("resnet18:output_stride=8", [7, 11, 43, 99, 211, 435]),  # dilation in the place of stride
    ],
)
def test_sizes_by_hand(name: str, sizes: list[int]) -> None:
    fields = receptive_fields(get_spec(name))
    assert [fields[part].size for part in fields if part != "final" and not (part == "pool" and len(sizes) == 4)] == sizes


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet18:width=2,stem_width=2", 448),
        ("resnet50:width=2,stem_width=2,blocks=[1,2,2,1]", 320),
        ("resnet50-v1:width=2,stem_width=2,blocks=[1,2,2,1]", 320),
        ("resnet18-d:width=2,stem_width=2,blocks=[1,1,1]", 128),
        ("cifar-preact-resnet20:width=2,stem_width=2", 96),
        ("cifar-resnet20:width=2,stem_width=2,output_stride=4,strides=[1,2,4]", 128),
    ],
)
def test_the_gradient_of_one_position_reaches_exactly_the_field(name: str, size: int) -> None:
    spec = get_spec(name, num_classes=2)
    network = build(spec).double().eval()
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())  # positive: no ReLU stops anything
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):  # its gradient would reach the largest pixel of each window only
                setattr(module, child_name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    fields = receptive_fields(spec)
    images = torch.ones(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    maps = network.features(images)
    for stage in spec.stage_names:
        field = fields[stage]
        middle = maps[stage].shape[-1] // 2
        (gradient,) = torch.autograd.grad(maps[stage][0, 0, middle, middle], images, retain_graph=True)
        for axis, others in enumerate(((0, 1, 3), (0, 1, 2))):
            touched = torch.nonzero(gradient.abs().sum(others)).flatten().tolist()
            low, high = (edge + middle * field.jump for edge in (field.low[axis], field.high[axis]))
            assert low > 0, "the image is too small for this test"
            assert high < size - 1
            assert (touched[0], touched[-1]) == (low, high), stage


def test_branches_with_unequal_kernels_join() -> None:
    one_block = NetworkSpec(
        blocks=(1,), residual="inception-resnet-v1-b", stem="cifar", stem_width=8, input_size=32, shortcut="B", num_classes=2
    )
    # the branch 1x1, 1x7, 7x1 sees 7 x 7 of a map that sees 3 x 3
    assert receptive_fields(one_block)["conv2_x"].size == 9
