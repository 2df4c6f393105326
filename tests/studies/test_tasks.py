"""A task's key: what decides the result, and nothing else."""

from invented import planned, tiny_plan, tiny_study

from resnets.studies import get_study
from resnets.studies.tasks import Task


def task(**recipe: object) -> Task:
    study = tiny_study()
    first = tiny_plan(study).tasks(study)[0]
    assert first.recipe is not None
    return first.model_copy(update={"recipe": first.recipe.updated(**recipe)})


def test_what_decides_the_result_changes_the_key() -> None:
    keys = {task().key, task(seed=5).key, task(max_steps=9).key, task(optimizer__learning_rate=0.2).key, task(precision="fp32").key}
    keys.add(task().model_copy(update={"network": "cifar-resnet8"}).key)
    keys.add(task().model_copy(update={"measurement": "trained-signal"}).key)
    assert len(keys) == 7


def test_what_does_not_decide_it_leaves_the_key() -> None:
    same = [task(), task(name="other"), task(log_every=3), task(checkpoint_every=7.0), task(output="somewhere"), task(threads=1)]
    same.append(task().model_copy(update={"arm": "another name"}))
    assert len({one.key for one in same}) == 1


def test_a_default_written_out_is_the_same_network() -> None:
    written_out = task().model_copy(update={"network": task().network + ",cardinality=1"})
    assert written_out.key == task().key


def test_studies_share_what_both_train() -> None:
    degradation, signal = get_study("degradation"), get_study("signal")
    ours = {task.key for task in planned(degradation, "56 layers").tasks(degradation)}
    theirs = [task for task in planned(signal, "56 layers").tasks(signal) if task.measurement == "training"]
    assert len(theirs) == 12  # four networks, three seeds
    assert {task.key for task in theirs} <= ours


def test_a_training_comes_before_the_signal_that_needs_it() -> None:
    signal = get_study("signal")
    seen = set()
    for one in planned(signal, "56 layers").tasks(signal):
        if one.measurement == "trained-signal":
            assert (one.arm, "training", one.seed) in seen
        seen.add((one.arm, one.measurement, one.seed))
