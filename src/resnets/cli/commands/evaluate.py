"""resnets evaluate: a trained model, measured."""

from __future__ import annotations

from functools import partial

from ...core.errors import UserError
from ...tasks import CLASSIFICATION, DETECTION, AnyTask
from ..command import Command
from ..evaluate_options import EvaluateOptions
from ..measures import print_measures
from ..model_task import opened, refuse_others
from ..options import print_json, results

_ABOUT = "Measure a trained model on images whose classes, objects or masks are known."


def run(options: EvaluateOptions, task: AnyTask | None = None) -> int:
    """Carries out the command; `task`: the one that the model has to be of."""
    if options.batch_size is not None and options.batch_size < 1:
        raise UserError("--batch-size is at least 1")
    if any(size < 1 for size in options.sizes):
        raise UserError("--sizes are lengths in pixels, 1 or more")
    if options.plot is not None:
        from ...reports.plots import image_format

        image_format(options.plot)
    found, path = opened(options.model, task)
    refuse_others(options, found, path)
    from ...core.environment import keep_large_buffers

    keep_large_buffers()
    if found is CLASSIFICATION:
        from ..measured_classifier import measured
    elif found is DETECTION:
        from ..measured_scenes import measured_detector as measured
    else:
        from ..measured_scenes import measured_segmenter as measured
    done = measured(options, path)
    summary = done.result.summary(done.classes)
    if options.plot is not None:
        from ...reports import plots

        plots.save(plots.confusion_matrix(summary["confusion"], done.classes), options.plot)
    if options.json:
        print_json({"model": str(path), "data": done.data, **done.about, **summary})
        return 0
    print_measures(done.result.measures(done.classes), done.on, after=done.after)
    if options.plot is not None:
        results().print(f"confusion matrix drawn into {options.plot}", soft_wrap=True, markup=False)
    return 0


def evaluate_command(name: str, task: AnyTask | None = None) -> Command[EvaluateOptions]:
    """`resnets NAME`."""
    return Command(name, EvaluateOptions, _ABOUT, partial(run, task=task))


COMMAND = evaluate_command("evaluate")
