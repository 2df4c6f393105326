"""What a person is shown where something goes wrong: one line, whose fault it is, and the exit status that says the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from resnets import cli
from resnets.cli.commands import models
from resnets.core.errors import JobError, ResnetsError, UserError


def failing(error: BaseException) -> Any:
    def run(arguments: list[str]) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UserError("no such colour; choose red"), 2, "resnets: no such colour; choose red"),
        (JobError("the loss is not finite"), 1, "resnets: the loss is not finite"),
        (ResnetsError("something"), 2, "resnets: something"),
        (FileNotFoundError(2, "No such file", "x.png"), 2, "resnets: No such file: x.png"),
        (PermissionError(13, "Permission denied", "x.png"), 1, "resnets: Permission denied: x.png"),
        (
            ValueError("zip() argument 2 is longer than argument 1"),
            70,
            "a defect of resnets, not of your request (ValueError: zip() argument 2",
        ),
        (KeyError("spec"), 70, "a defect of resnets, not of your request (KeyError: 'spec')"),
        (AssertionError(), 70, "a defect of resnets, not of your request (AssertionError)"),
        (RuntimeError("shapes\ndo not fit"), 70, "(RuntimeError: shapes do not fit)"),
    ],
)
def test_one_line_and_a_status(
    error: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "COMMAND", replace(models.COMMAND, carry_out=failing(error)))
    assert cli.main(["models"]) == status
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.splitlines()) == 1
    assert ("--debug" in printed) == (status == 70)


def test_a_mismatch_inside_a_command_is_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(models, "COMMAND", replace(models.COMMAND, carry_out=lambda options: list(zip([1], [1, 2], strict=True))))
    assert cli.main(["models"]) == 70
    monkeypatch.setattr(models, "COMMAND", replace(models.COMMAND, carry_out=failing(KeyError("x"))))
    with pytest.raises(KeyError):
        cli.main(["models", "--debug"])
