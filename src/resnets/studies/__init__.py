"""The papers' experiments as data, one protocol that runs them, and pages that answer: did the claim hold here?

experiment  what a study is: networks (arms), sizes at which it can be run (rungs), what is compared, the published table
catalogue   the studies themselves, one small file each
budget      from seconds to a plan: which rung, how many steps and seeds, from steps measured on this machine
protocol    runs a plan; what is finished is never run again
statistics  means, deviations, t intervals, paired differences; verdict applies them to a study's comparisons
record      the result as JSON; page and figures show it
"""

from .catalogue import STUDIES, get_study
from .experiment import Study

__all__ = ["STUDIES", "Study", "get_study"]
