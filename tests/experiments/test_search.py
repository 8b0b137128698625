"""Importances of the paths of a search."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from plastic_search.experiments.optuna_search import importances


def test_importances_are_about_the_best_trials() -> None:
    """`good` alone decides which trials are the best, `bad` alone which are the worst."""
    rng = np.random.default_rng(0)
    even = optuna.distributions.FloatDistribution(0.0, 1.0)
    ranges: dict[str, optuna.distributions.BaseDistribution] = {"good": even, "bad": even}
    result = []
    for good, bad in rng.random((200, 2)).tolist():
        score = 0.5 + 0.4 * (good > 0.8) - 0.4 * (bad > 0.8)
        params = {"good": good, "bad": bad}
        result.append(optuna.trial.create_trial(params=params, distributions=ranges, values=[score, 1.0]))

    shares = importances(result)
    assert shares["good"] > 0.8
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5)
