"""Export a model to ONNX and run it in onnxruntime alone: no PyTorch is needed where it runs.

python examples/export_onnx.py runs/my-images-1/model.safetensors model.onnx       # needs the extra `export`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch

import resnets
from resnets.deployment.export.export import export_model


def main() -> float:
    """Exports, runs both on the same random batch, and returns the largest difference between their logits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file")
    parser.add_argument("output", type=Path, help="the file to write, ending in .onnx")
    options = parser.parse_args()

    network = resnets.load_model(options.model).eval()
    exported = export_model(network, options.output, format="onnx", report=print)  # left only where both runtimes agree

    size, channels = network.preprocessing.size, network.spec.in_channels
    images = np.random.default_rng(0).standard_normal((4, channels, size, size), dtype=np.float32)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    logits = session.run(None, {session.get_inputs()[0].name: images})[0]  # (4, K) float32
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    difference = float(np.abs(logits - expected).max())
    print(f"{exported.path}: logits {logits.shape}, at most {difference:.1e} from PyTorch's")
    return difference


if __name__ == "__main__":
    main()
