"""The whole story in one file: a residual network of ours in a plain PyTorch loop, on 1,797 handwritten digits that come with the package.

python examples/plain_loop.py --epochs 5
"""

from __future__ import annotations

import argparse

import torch
from torch.nn import functional

import resnets
from resnets.data import load
from resnets.data.decoding.preprocessing import Preprocessing


def main() -> float:
    """Trains, prints the accuracy on the test split after every epoch, and returns the last one, in [0, 1]."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="cifar-resnet8", help="a name that `resnets models` lists")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    torch.manual_seed(0)
    train, test = load("digits", "train"), load("digits", "test")  # images (N, 1, 8, 8) uint8, labels (N,) int64
    prepare = Preprocessing(size=16, channels=1, mean=train.mean, std=train.std)  # to (N, 1, 16, 16) float32
    network = resnets.create_model(options.network, in_channels=1, num_classes=len(train.classes))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = options.epochs * -(-len(train.labels) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)

    accuracy = 0.0
    for epoch in range(options.epochs):
        network.train()
        for batch in torch.randperm(len(train.labels)).split(64):
            loss = functional.cross_entropy(network(prepare(train.images[batch])), train.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            predicted = network(prepare(test.images)).argmax(1)
        accuracy = (predicted == test.labels).float().mean().item()
        print(f"epoch {epoch + 1}: test accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
