"""Train on a folder of images, FOLDER/CLASS/*.jpg, with settings that are chosen from the images and the machine.

On photographs it starts from ImageNet's weights where they can be had. Every choice is printed with its reason, and what you give
yourself is kept: here the network and the number of epochs.

python examples/fine_tune_folder.py my-images --epochs 5
"""

from __future__ import annotations

import argparse
from typing import Any

import resnets
from resnets.classification.recipe_for_data import recipe_for_data


def main() -> resnets.Run:
    """Trains and returns the finished run; the model is `run.model_path`, the report is in `run.directory`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="FOLDER/CLASS/*, FOLDER/{train,val}/CLASS/*, or a CSV of path,label")
    parser.add_argument("--network", help="a name that `resnets models` lists; fresh weights then")
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()

    given: dict[str, Any] = {"network": options.network, "epochs": options.epochs}
    recipe, reasons = recipe_for_data(options.folder, {name: value for name, value in given.items() if value is not None})
    for reason in reasons:
        print(f"--{reason.option} {reason.value}: {reason.because}")

    def show(event: dict[str, Any]) -> None:
        if event["event"] == "evaluation":
            print(f"epoch {event['epoch']:g}: accuracy {event['top1']:.1%}")

    run = resnets.train(recipe, [show])
    print(f"accuracy {run.metrics['top1']:.1%} of {run.metrics['num_images']} images that were held out")
    print(f"model    {run.model_path}\nreport   {run.directory / 'report.html'}")
    return run


if __name__ == "__main__":
    main()
