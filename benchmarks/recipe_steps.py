"""Times a recipe's training steps as `resnets train` makes them, and prints one JSON object, as tutorial_loop.py does.

python benchmarks/recipe_steps.py fashion-mnist-tutorial --steps 12
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

from resnets.core.environment import keep_large_buffers

WARM_UP_STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    keep_large_buffers()
    import torch

    from resnets.classification.recipes import get_recipe
    from resnets.tasks import open_session

    session = open_session(get_recipe(options.recipe, data_folder=options.folder, device=options.device), report=lambda _: None)
    started, images_seen = 0.0, 0
    for step, batch in enumerate(session.training.epoch(0)):
        if step == WARM_UP_STEPS:
            _wait(session.device.type)
            started, images_seen = time.perf_counter(), 0
        result = session.step(session.inputs(batch), step=step + 1, progress=0.0, factor=1.0)
        images_seen += len(batch.images)
        if step + 1 == WARM_UP_STEPS + options.steps:
            break
    _wait(session.device.type)
    seconds = time.perf_counter() - started
    scale = 1 if sys.platform == "darwin" else 1024
    memory = scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured = {"images_per_second": images_seen / seconds, "peak_memory_bytes": memory, "loss": float(result.loss)}
    if session.device.type == "cuda":
        measured["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    print(json.dumps(measured))


def _wait(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
