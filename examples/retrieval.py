"""Features for retrieval: which images of a folder look most like a given one?

The features are the mean over space of the last stage's feature map, of length 1, compared by their cosine.

python examples/retrieval.py runs/my-images-1/model.safetensors my-images query.jpg --top 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.nn import functional

import resnets
from resnets.deployment.prediction.predict import find_images, read_image


def embed(network: resnets.Network, path: Path) -> torch.Tensor:
    """The features of an image file, (D,) float32 of length 1."""
    with torch.inference_mode():
        maps = network.features(read_image(path, network.preprocessing))  # {"conv1": (1, C, H, W), ...}
    return functional.normalize(list(maps.values())[-1].mean((2, 3)), dim=1)[0]


def main() -> list[tuple[float, Path]]:
    """Prints and returns the nearest images with their cosines, the nearest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file")
    parser.add_argument("folder", type=Path, help="the images to search")
    parser.add_argument("query", type=Path, help="the image to search for")
    parser.add_argument("--top", type=int, default=5)
    options = parser.parse_args()

    network = resnets.load_model(options.model).eval()
    paths = list(find_images([options.folder]))
    index = torch.stack([embed(network, path) for path in paths])  # (N, D)
    cosines = index @ embed(network, options.query)  # (N,)
    best = cosines.topk(min(options.top, len(paths)))
    found = [(cosine, paths[place]) for cosine, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)]
    for cosine, path in found:
        print(f"{cosine:.3f}  {path}")
    return found


if __name__ == "__main__":
    main()
