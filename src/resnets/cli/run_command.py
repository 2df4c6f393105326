"""What commands that train have in common: a recipe to begin with, or a run to go on with, carried out before your eyes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from ..core.environment import keep_large_buffers
from ..core.errors import UserError
from ..data.datasets.user_data import is_path
from ..training.base_recipe import AnyRecipe, read_run_recipe
from ..training.choices import Reason
from . import processes
from . import resume as resume_checks
from .options import given_fields, messages, print_json
from .progress import TrainingProgress


@dataclass(frozen=True)
class RunCommand(Generic[AnyRecipe]):
    """A command that trains one kind of network."""

    kind: type[AnyRecipe]
    recipes: Mapping[str, AnyRecipe]
    """The named ones."""
    description: str
    """For its help; may hold {names} of recipes."""
    print_results: Callable[[Any], None]
    """Prints a finished `training.run.Run` for people."""
    own: Callable[[str, Mapping[str, Any]], tuple[AnyRecipe, tuple[Reason, ...]]]
    """Chooses a recipe for a user's own data, given the user's options, with the reason of each choice."""

    def run(self, arguments: list[str]) -> int:
        """Carries out the command."""
        everything = arguments
        as_json = "--json" in arguments
        arguments = [argument for argument in arguments if argument != "--json"]
        asked, arguments = take("--processes", arguments, "a number")
        number = 1 if asked is None else processes.read_number(asked)
        resumed, arguments = take("--resume", arguments)
        recipe: AnyRecipe | None = None
        changed_data = False
        if resumed is not None:
            if resume_checks.asked(arguments):
                if number > 1:
                    raise UserError("--prove and --replay compare one process with itself; leave --processes off")
                return resume_checks.run(Path(resumed), arguments, self.kind, as_json=as_json)
            changed_data = "--changed-data" in arguments
            arguments = [argument for argument in arguments if argument != "--changed-data"]
            if arguments:
                options = " ".join(arguments)
                raise UserError(
                    "--resume goes on with the run as it was and takes no other options but --changed-data, --prove and --replay, "
                    f"but got {options}"
                )
        else:
            recipe = self.parse(arguments)
        if number > 1:
            return processes.carry_out([*self.kind.command.split(), *take("--processes", everything)[1]], number)
        keep_large_buffers()
        from ..training.run import resume, train

        progress = TrainingProgress(messages())
        listeners = (progress, print_event) if as_json else (progress,)
        with progress:
            if recipe is not None:
                done = train(recipe, listeners)
            else:
                done = resume(Path(resumed or ""), listeners, kind=self.kind, changed_data=changed_data)
        if not as_json and speaks():
            self.print_results(done)
        return 0

    def parse(self, arguments: list[str], command: str | None = None, description: str | None = None) -> AnyRecipe:
        """The recipe that the arguments name and change.

        Args:
            arguments: a name, a folder or --recipe FILE, and options.
            command, description: of another command that takes the same arguments.

        Raises:
            ValueError: they name none, or an option that does not exist or fit.
        """
        command = command or self.kind.command
        description = (description or self.description).format(names=", ".join(self.recipes))
        if arguments and not arguments[0].startswith("-") and arguments[0] not in self.recipes and is_path(arguments[0]):
            given = given_fields(self.kind(), arguments[1:], command, description)
            recipe, reasons = self.own(arguments[0], given)
            console = messages()
            console.print("chosen for these images and this machine; each is an option:")
            for reason in reasons:
                option = f"--{reason.option} {reason.value}"
                console.print(f"  {option:<40} {reason.because}", soft_wrap=True, markup=False)
            return recipe
        start, arguments = self.starting_recipe(arguments)
        return start.updated(
            **{name.replace(".", "__"): value for name, value in given_fields(start, arguments, command, description).items()}
        )

    def starting_recipe(self, arguments: list[str]) -> tuple[AnyRecipe, list[str]]:
        """The recipe that the options change, a named one or one from a file, and the other arguments."""
        file, arguments = take("--recipe", arguments)
        if file is not None:
            # A repeated run gets a directory of its own.
            return read_run_recipe(Path(file), self.kind).updated(output=None), arguments
        if arguments and not arguments[0].startswith("-"):
            from ..classification.recipes import nearest

            if arguments[0] not in self.recipes:
                raise UserError(nearest(arguments[0], self.recipes))
            return self.recipes[arguments[0]], arguments[1:]
        if "-h" in arguments or "--help" in arguments:
            return self.kind(), arguments
        raise UserError(
            f"name what to train: resnets {self.kind.command} {' | '.join(self.recipes)}, or a FOLDER, or --recipe FILE, or --resume RUN"
        )


def speaks() -> bool:
    """Whether this is the one process that speaks, where torchrun has started several."""
    return os.environ.get("RANK", "0") == "0"


def take(option: str, arguments: list[str], value: str = "a path") -> tuple[str | None, list[str]]:
    """The value of an option that is no field of the recipe, and the other arguments."""
    for i, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2], arguments[:i] + arguments[i + 1 :]
        if argument == option:
            if i + 1 == len(arguments):
                raise UserError(f"{option} needs {value} behind it")
            return arguments[i + 1], arguments[:i] + arguments[i + 2 :]
    return None, arguments


def print_event(event: dict[str, Any]) -> None:
    """One object on standard output for each event that is logged."""
    if event["event"] != "progress":
        print_json(event)
