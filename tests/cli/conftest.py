"""Calling the command line in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resnets.cli import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls the command line in this process: (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # tyro's help and type errors
            status = int(stop.code or 0)
        output, errors = capsys.readouterr()
        return status, output, errors

    return run
