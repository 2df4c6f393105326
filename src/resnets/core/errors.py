"""The errors that people are shown as one line. Any other exception is a defect of ours."""

from __future__ import annotations


class ResnetsError(Exception):
    """Something went wrong that is no defect of this package; the message names the thing and the fix."""


class UserError(ResnetsError, ValueError):
    """A request, a file or a set of data that cannot mean what it says. The command ends with exit status 2."""


class JobError(ResnetsError, RuntimeError):
    """The request was right and the job failed all the same: a full disk, a diverged loss. The command ends with exit status 1."""
