"""A former name works, and says once where it is used what to write instead."""

import inspect
import warnings

import pytest

from resnets.core.deprecation import renamed_argument
from resnets.core.errors import UserError
from resnets.deployment.export.export import export_model


@renamed_argument("colour", "color", until="0.9")
def paint(what: str, *, color: str = "red") -> str:
    """Paints."""
    return f"{color} {what}"


def test_the_new_name_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (paint("wall"), paint("wall", color="blue")) == ("red wall", "blue wall")


def test_the_former_name_works_and_is_said() -> None:
    with pytest.warns(DeprecationWarning, match=r"paint\(colour=...\) is called color now; colour goes with version 0.9") as said:
        assert paint("wall", colour="blue") == "blue wall"  # type: ignore[call-arg]
    assert [warning.filename for warning in said] == [__file__]


def test_both_are_too_many() -> None:
    with pytest.raises(UserError, match="got color and its former name colour"):
        paint("wall", color="a", colour="b")  # type: ignore[call-arg]


def test_what_is_decorated_keeps_its_signature() -> None:
    assert paint.__doc__ == "Paints."
    assert "color" in inspect.signature(paint).parameters
    assert "uint8" in inspect.signature(export_model).parameters
