"""Carrying out the blocks of a page, or only reading them with the real parser."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import pkgutil
import re
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from doc_pages import Block, commands

import resnets
from resnets import cli

Names = dict[str, Any]


class Parsed(BaseException):
    """A command's arguments were understood, and nothing was done. No error, so that no command takes it for one."""


def run_block(block: Block, names: Names, printed: str) -> str:
    """Carries a block out in the working directory; what it printed, and of a block of text: checks that `printed` says it.

    Args:
        names: the page's namespace, which a block of Python changes.
        printed: by the block before.
    """
    if block.file is not None:
        Path(block.file).write_text(block.body, "utf-8")
        return printed
    if block.reason is not None:
        read_block(block)
        return ""
    if block.language == "text":
        _check_text(block, printed)
        return printed
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        if block.language == "python":
            _run_python(block, names)
        elif block.language == "sh":
            for arguments in commands(block):
                status = call(arguments)
                assert status == 0, f"{block.place}: resnets {' '.join(arguments)} ended with {status}:\n{output.getvalue()}"
        else:
            raise AssertionError(f"{block.place}: nothing is known about ```{block.language}; name its file, or mark it as not run")
    return output.getvalue()


def call(arguments: list[str]) -> int:
    """The exit status of the command line in this process."""
    try:
        return cli.main(arguments)
    except SystemExit as stop:  # tyro's help and type errors
        return int(stop.code or 0)


def _run_python(block: Block, names: Names) -> None:
    # Empty lines before the code, so that a traceback names the page's own lines.
    code = compile("\n" * block.line + block.body, block.page, "exec")
    try:
        exec(code, names)
    except Exception:
        raise AssertionError(f"{block.place}:\n{traceback.format_exc()}") from None


def _check_text(block: Block, printed: str) -> None:
    """Each line must be in what was printed, whatever its spaces and frames."""
    said = _plain(printed)
    for line in block.body.splitlines():
        pattern = ".*?".join(re.escape(part) for part in _plain(line).split("..."))
        assert re.search(pattern, said), f"{block.place} promises {line!r}, but what was printed is\n{printed}"


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[─│╭╮╰╯]", " ", text).split())


def read_block(block: Block) -> None:
    """Parses the options of a block's commands, or looks up the names of its Python."""
    if block.language == "sh":
        for arguments in commands(block):
            parse(arguments, block.place)
    elif block.language == "python":
        look_up(block)


def parse(arguments: list[str], place: str) -> None:
    """Gives a command its arguments and stops it as soon as it has understood them."""
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        _stop_after_parsing(patch)
        try:
            status = call(arguments)
        except Parsed:
            return
    # What prints its help or a list has done all there is to do.
    assert status == 0, f"{place}: resnets {' '.join(arguments)} was not understood ({status}): {output.getvalue()}"


def _stop_after_parsing(patch: pytest.MonkeyPatch) -> None:
    """Lets every command end where its options are parsed and checked, whatever module it lives in."""
    import resnets.training.run
    from resnets.cli import options, resume
    from resnets.cli.recipe_command import RecipeCommand

    def stopping(function: Callable[..., Any]) -> Callable[..., Any]:
        def understood(*arguments: Any, **named: Any) -> Any:
            function(*arguments, **named)
            raise Parsed

        return understood

    originals = {"parse": options.parse}
    # All are imported before any is patched: one imported later would keep what it took from a patched one.
    for module in [import_module(found.name) for found in pkgutil.walk_packages(cli.__path__, f"{cli.__name__}.")]:
        for name, function in originals.items():
            if getattr(module, name, None) is function:
                patch.setattr(module, name, stopping(function))
    patch.setattr(RecipeCommand, "begin", stopping(RecipeCommand.begin))
    nothing = stopping(lambda *_, **__: None)
    for name in ("_prove", "_replay"):
        patch.setattr(resume, name, nothing)
    patch.setattr(resnets.training.run, "resume", nothing)


def look_up(block: Block) -> None:
    """Finds every name of this package in a block of Python, and in its calls the parameters that are named.

    Raises:
        AssertionError: one of them does not exist.
    """
    tree = ast.parse(block.body)
    names: Names = {"resnets": resnets}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            code = compile(ast.Module([node], []), block.page, "exec")
            try:
                exec(code, names)
            except (ImportError, AttributeError) as error:
                raise AssertionError(f"{block.place}: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _check_call(block, node, names)


def _check_call(block: Block, node: ast.Call, names: Names) -> None:
    if not all(isinstance(part, ast.Name | ast.Attribute | ast.Load) for part in ast.walk(node.func)):
        return  # a method of what another call gives
    try:
        function = eval(compile(ast.Expression(node.func), block.page, "eval"), dict(names))
    except NameError:
        return  # a value that the block makes itself
    except AttributeError as error:
        raise AssertionError(f"{block.place}: {error}") from None
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for keyword in node.keywords:
        assert keyword.arg in parameters, f"{block.place}: {ast.unparse(node.func)} has no parameter {keyword.arg}"
