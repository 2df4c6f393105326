"""resnets predict: what is on these images?"""

from __future__ import annotations

from functools import partial

from ...core.errors import UserError
from ...tasks import CLASSIFICATION, DETECTION, AnyTask
from ..command import Command
from ..model_task import opened, refuse_others
from ..predict_options import PredictOptions

_ABOUT = "Say what is on images, with a trained model: their classes, the objects on them, or the class of every pixel."


def run(options: PredictOptions, task: AnyTask | None = None) -> int:
    """Carries out the command; the status is 1 where an image could not be read. `task`: the one that the model has to be of."""
    if not options.images:
        raise UserError("name at least one image or folder after the model")
    if not 0 <= options.score <= 1:
        raise UserError(f"--score {options.score:g} is not a probability between 0 and 1")
    found, path = opened(options.model, task)
    refuse_others(options, found, path)
    if found is CLASSIFICATION:
        from ..predicted_classes import predict_classes as predict
    elif found is DETECTION:
        from ..predicted_scenes import predict_objects as predict
    else:
        from ..predicted_scenes import predict_areas as predict
    return predict(options, path)


def predict_command(name: str, task: AnyTask | None = None) -> Command[PredictOptions]:
    """`resnets NAME`."""
    return Command(name, PredictOptions, _ABOUT, partial(run, task=task))


COMMAND = predict_command("predict")
