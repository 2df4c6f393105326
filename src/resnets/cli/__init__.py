"""The `resnets` command. Each subcommand lives in a module of its own, which is imported only when it is asked for."""

from __future__ import annotations

import difflib
import os
import sys
from importlib import import_module

from ..core.errors import JobError, ResnetsError
from ..core.reading import ALLOW_OUTSIDE, TRUST
from ..core.text import harmless

COMMANDS = {
    "train": "train a network on your own data, or by recipe",
    "find": "a learning rate and a batch size that suit a recipe and this machine",
    "evaluate": "measure a trained model: accuracy, average precision, mean IoU",
    "predict": "say what is on images: classes, objects, areas",
    "detect": "the same for detectors: find objects on images",
    "segment": "the same for segmenters: a class for every pixel",
    "models": "list the networks with their size and cost",
    "describe": "show a network layer by layer, or against a reference's definition",
    "inspect": "measure responses and gradients unit by unit",
    "study": "measure a claim of the papers again, within a time budget",
    "data": "get, list and check data sets",
    "benchmark": "measure speed and memory in every engine, beside peers and the machine's limits",
    "serve": "show a trained model on a web page of this machine, and answer scripts",
    "export": "write a network for onnxruntime, OpenVINO or plain PyTorch, checked there",
    "quantize": "write a trained network as int8, within a budget of accuracy that is measured",
    "convert": "turn weights from one package's layout into another's",
    "completion": "print a script with which a shell completes commands and options",
}

_HELP = """\
resnets: every residual network of the papers from one description

usage: resnets COMMAND [OPTIONS]        resnets COMMAND --help

{commands}

first steps:
  resnets train fashion-mnist           train on real images, evaluate, save a model
  resnets train digits                  the same in seconds, without a download
  resnets train photos                  the same with your own images, in photos/CLASS/
  resnets predict MODEL IMAGE...        use it
  resnets describe resnet50             what a network is made of

Every command takes --json (machine-readable lines on standard output), --debug (tracebacks), --allow-outside (data may name files
that are outside of its own folder) and --trust (run the graph of an exported file as it is; that of a .pt2 file is a program).
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status, see `_run`. What --trust and --allow-outside permit ends with it."""
    before = {name: os.environ.get(name) for name in (ALLOW_OUTSIDE, TRUST)}
    try:
        return _run(arguments)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _run(arguments: list[str] | None) -> int:
    """Runs the command line and returns its exit status: 0 done, 1 the job failed, 2 the request was wrong, 70 a defect
    of ours."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if "--allow-outside" in arguments:
        os.environ[ALLOW_OUTSIDE] = "1"  # for worker processes and ranks, too
    if "--trust" in arguments:
        os.environ[TRUST] = "1"
    arguments = [argument for argument in arguments if argument not in ("--debug", "--allow-outside", "--trust")]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_HELP.format(commands="\n".join(f"  {name:<11} {summary}" for name, summary in COMMANDS.items())), end="")
        return 0
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(version("resnets"))
        return 0
    if arguments[0].startswith("-"):  # options before the command
        place = next((i for i, word in enumerate(arguments) if word in COMMANDS), 0)
        arguments.insert(0, arguments.pop(place))
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        return _fail(f"there is no command {command!r}; {f'did you mean {near[0]}?' if near else 'resnets --help lists them.'}", 2)
    try:
        return int(import_module(f".commands.{command}", __name__).COMMAND.run(rest))
    except KeyboardInterrupt:
        return _fail("stopped", 1)
    except BrokenPipeError:
        # Whoever read our output has enough (`resnets models | head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        if isinstance(error, ResnetsError):
            return _fail(str(error), 1 if isinstance(error, JobError) else 2)
        if isinstance(error, OSError):
            message = error.strerror or str(error)
            named = f": {error.filename}" if error.filename and str(error.filename) not in message else ""
            return _fail(message + named, 2 if isinstance(error, FileNotFoundError) else 1)
        # Whatever else it is, the user did not ask for it wrongly: ours are the errors above.
        reason = " ".join(str(error).split())
        return _fail(
            f"this is a defect of resnets, not of your request ({type(error).__name__}{': ' if reason else ''}{reason}). Please report it with "
            "what the same command prints with --debug at its end",
            DEFECT,
        )


DEFECT = 70
"""Exit status of a defect of ours (EX_SOFTWARE of sysexits.h)."""


def _fail(message: str, status: int) -> int:
    print(f"resnets: {harmless(message)}", file=sys.stderr)
    return status
