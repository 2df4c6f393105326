"""What bf16 and INT8 cost in accuracy on real images: a trained network in the engines that predict, beside itself in fp32.

    python benchmarks/quantization.py                              # trains fashion-mnist-accurate first; results/quantization-cpu.json
    python benchmarks/quantization.py --model runs/own             # a run or model file of one's own

Every engine answers for all test images, one by one without mirror images. Its drop is in points of top-1 accuracy, its agreement the
share of the images with the same top-1 class as torch's in fp32. INT8 calibrates on 300 training images; layers stay in float where
the budget of 0.3 points would not hold otherwise. How fast these engines are says benchmarks/shipping.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from records import write_record

from resnets.deployment.engines.engine import Engine
from resnets.deployment.engines.models import open_network
from resnets.deployment.engines.opening import open_engine
from resnets.deployment.graph.names import ENDINGS
from resnets.deployment.quantization.budget import QuantizedFormat, quantize_model
from resnets.deployment.quantization.data import QuantizationData, open_quantization_data

RECIPE = "fashion-mnist-accurate"
MAX_DROP = 0.3
FORMATS: tuple[QuantizedFormat, ...] = ("openvino", "onnx")


def trained(folder: Path, seed: int) -> Path:
    """A run of the recipe."""
    run = folder / "run"
    command = [sys.executable, "-m", "resnets", "train", RECIPE, "--seed", str(seed), "--no-report", "--output", str(run)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return run


def answers(engine: Engine, data: QuantizationData) -> tuple[torch.Tensor, torch.Tensor]:
    """Top-1 classes and the right ones, (N,) each."""
    pairs = [(engine.logits(images).argmax(1), labels) for images, labels in data.batches()]
    return torch.cat([found for found, _ in pairs]), torch.cat([labels for _, labels in pairs])


def engines(model: Path, folder: Path, data: QuantizationData) -> Iterator[tuple[Engine, dict[str, Any]]]:
    """The one to compare with, then the others, with what is to be said of them besides."""
    yield open_engine(model, engine="torch", precision="fp32"), {}
    yield open_engine(model, engine="torch", precision="bf16"), {}
    yield open_engine(model, engine="openvino", precision="bf16"), {}
    network, about = open_network(model)
    for form in FORMATS:
        path = folder / f"int8{ENDINGS[form]}"
        made = quantize_model(network, path, data, format=form, max_drop=MAX_DROP, description=about, report=tell)
        said = {key: made.record[key] for key in ("convolutions", "float_layers", "calibrated_on")}
        yield open_engine(path), {**said, "most_blamed": made.record["ranking"]["layers"][:5]}


def tell(message: str) -> None:
    """For who waits."""
    print(message, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help=f"a run or model file; unset: the recipe {RECIPE} is carried out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="test images, for a quick look")
    parser.add_argument("--output", type=Path, help="the record's file, in the place of results/quantization-cpu.json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = options.model or trained(folder, options.seed)
        about = open_network(model)[1]
        run = model if model.is_dir() else None
        data = open_quantization_data(about, flips=False, limit=options.limit, run=run, report=tell)
        expected = None
        for engine, said in engines(model, folder, data):
            found, labels = answers(engine, data)
            expected = found if expected is None else expected
            top1 = (found == labels).double().mean().item()
            rows.append(
                {
                    "engine": engine.version,
                    "precision": engine.precision,
                    "top1": top1,
                    "drop": 100 * ((rows[0]["top1"] if rows else top1) - top1),
                    "top1_agreement": (found == expected).double().mean().item(),
                    **said,
                }
            )
            tell(json.dumps({key: value for key, value in rows[-1].items() if key != "most_blamed"}))
    record = {
        "about": "drop: points of top-1 accuracy below the first row, torch in fp32; top1_agreement: share of the images with its class",
        "network": about.spec.model_dump(mode="json", exclude_defaults=True),
        "trained": str(options.model) if options.model else f"resnets train {RECIPE} --seed {options.seed}",
        "images": data.name,
        "num_images": len(labels),
        "max_drop": MAX_DROP,
        "rows": rows,
    }
    output = options.output
    print(write_record(output.stem if output else "quantization-cpu", record, folder=output.parent if output else None))


if __name__ == "__main__":
    main()
