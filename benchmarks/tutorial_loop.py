"""The peer: the Fashion-MNIST tutorial's own way to train its ResNet-18, in plain PyTorch and torchvision, none of our code.

fp32, NCHW, a DataLoader whose workers open each image with Pillow, resize it to 96 x 96 and make a tensor of it; Adam, batch 256.
Prints one JSON object: images per second over the timed steps, and the process's peak memory.

    python benchmarks/tutorial_loop.py --folder FOLDER --steps 12 --workers 4
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import sys
import time
from pathlib import Path

import numpy
import PIL.Image
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

WARM_UP_STEPS = 3


class Images(Dataset):
    """What torchvision's FashionMNIST gives: a Pillow image, transformed, and its label."""

    def __init__(self, folder: Path) -> None:
        with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
            self.images = numpy.frombuffer(file.read(), numpy.uint8, offset=16).reshape(-1, 28, 28)
        with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
            self.labels = numpy.frombuffer(file.read(), numpy.uint8, offset=8)
        self.transform = transforms.Compose([transforms.Resize(size=96), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(PIL.Image.fromarray(self.images[index], mode="L")), int(self.labels[index])


class Residual(nn.Module):
    """The tutorial's block: its convolutions keep their biases, its 1x1 shortcut has no norm."""

    def __init__(self, in_channels: int, channels: int, project: bool = False, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, stride=stride)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv3 = nn.Conv2d(in_channels, channels, 1, stride=stride) if project else None
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return nn.functional.relu(y + (x if self.conv3 is None else self.conv3(x)))


def network() -> nn.Sequential:
    """ResNet-18 with one input channel and ten classes."""
    layers = [nn.Conv2d(1, 64, 7, stride=2, padding=3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    channels = 64
    for width in (64, 128, 256, 512):
        layers += [Residual(channels, width, width != channels, 2 if width != channels else 1), Residual(width, width)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device)
    loader = DataLoader(Images(options.folder), batch_size=256, shuffle=True, num_workers=options.workers)
    net = network().to(device)
    optimizer, loss_of = torch.optim.Adam(net.parameters(), lr=0.001), nn.CrossEntropyLoss()
    net.train()
    started = total = 0.0
    for step, (images, labels) in enumerate(loader):
        if step == WARM_UP_STEPS:
            started = time.perf_counter()
        loss = loss_of(net(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()  # the tutorial adds up the loss at each step, which waits for the device
        if step + 1 == WARM_UP_STEPS + options.steps:
            break
    seconds = time.perf_counter() - started
    scale = 1 if sys.platform == "darwin" else 1024
    memory = scale * sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"images_per_second": options.steps * 256 / seconds, "peak_memory_bytes": memory, "loss": total / (step + 1)}))


if __name__ == "__main__":
    main()
