"""Identities that hold for any velocity field: what samples and drift say before and after anything is learnt."""

from pyness.estimators.certificate import Certificate, certify
from pyness.estimators.estimate import Estimate
from pyness.estimators.metrics import potential_error
from pyness.estimators.report import Report
from pyness.estimators.score_free import fisher_information, score_free_epr
from pyness.estimators.stationarity import Stationarity, stationarity

__all__ = [
    "Certificate",
    "Estimate",
    "Report",
    "Stationarity",
    "certify",
    "fisher_information",
    "potential_error",
    "score_free_epr",
    "stationarity",
]
