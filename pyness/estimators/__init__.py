"""Identities that hold for any velocity field: what samples and drift say before and after anything is learnt."""

from pyness.estimators.certificate import Certificate, certify
from pyness.estimators.estimate import Estimate
from pyness.estimators.metrics import potential_error
from pyness.estimators.profiles import Profile, SpatialMap, profile, spatial_map
from pyness.estimators.report import Report
from pyness.estimators.score_free import active_work_epr, fisher_information, score_free_epr
from pyness.estimators.stationarity import Stationarity, stationarity

__all__ = [
    "Certificate",
    "Estimate",
    "Profile",
    "Report",
    "SpatialMap",
    "Stationarity",
    "active_work_epr",
    "certify",
    "fisher_information",
    "potential_error",
    "profile",
    "score_free_epr",
    "spatial_map",
    "stationarity",
]
