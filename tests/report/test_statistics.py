"""Statistics against numbers worked by hand, by scipy, or known in closed form."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from plastic_search.core.errors import PlasticSearchError
from plastic_search.report.statistics import (
    BestOf,
    best_of,
    difference,
    improvement,
    iqm,
    mean,
    median,
    median_difference,
    quartiles,
    share,
)


def test_mean_with_students_interval() -> None:
    """Three values 1, 2, 3: s = 1, t(2, 0.975) = 4.3027, so 2 +- 4.3027 / sqrt(3)."""
    made = mean([1.0, 2.0, 3.0])
    assert made.value == 2.0
    assert made.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)
    assert made.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    assert made.n == 3


def test_one_seed_has_no_interval_and_says_so() -> None:
    for made in (mean([0.9]), difference([0.9], [0.8]), improvement([0.9], [0.8, 0.7]), iqm([0.9])):
        assert (made.low, made.high, made.known, made.sign) == (None, None, False, 0)
        assert "no interval" in made.note


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    with pytest.raises(PlasticSearchError, match="finite"):
        mean(values)


def test_difference_is_welchs() -> None:
    from scipy.stats import ttest_ind

    x, y = [0.91, 0.93, 0.92, 0.95], [0.85, 0.91, 0.88]
    made, known = difference(x, y), ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert (made.low, made.high) == pytest.approx((known.low, known.high))
    assert made.sign == int(known.low > 0)


def test_difference_without_spread() -> None:
    made = difference([1.0, 1.0], [0.5, 0.5])
    assert (made.value, made.low, made.high) == (0.5, 0.5, 0.5)
    assert made.sign == 1


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    made = iqm([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0])
    assert made.value == 3.5
    assert made.low is not None
    assert made.high is not None
    assert made.low < 3.5 < made.high
    assert iqm([0.0, 1.0, 2.0]).note
    assert iqm([1.0, 2.0, 3.0, 4.0]) == iqm([1.0, 2.0, 3.0, 4.0])


def test_improvement_counts_pairs() -> None:
    """Of the four pairs two are won, one is tied: (2 + 0.5) / 4."""
    assert improvement([2.0, 3.0], [1.0, 3.0]).value == 0.625
    from scipy.stats import mannwhitneyu

    x, y = [3.0, 5.0, 1.0, 8.0], [2.0, 4.0, 4.0]
    assert improvement(x, y).value == pytest.approx(mannwhitneyu(x, y).statistic / 12)


def test_improvement_of_three_seeds_is_never_sure() -> None:
    """Three seeds that all beat three others are weak evidence; a bootstrap would say [1, 1]."""
    made = improvement([3.0, 4.0, 5.0], [0.0, 1.0, 2.0])
    assert (made.value, made.high) == (1.0, 1.0)
    assert made.low == pytest.approx(0.501, abs=1e-3)
    other = improvement([0.0, 1.0, 2.0], [3.0, 4.0, 5.0])
    assert (other.value, other.low) == (0.0, 0.0)
    assert other.high == pytest.approx(1 - 0.501, abs=1e-3)


def test_improvements_interval_covers() -> None:
    """Of 400 draws of two groups of 6 whose true probability is 0.5, about 95 % have it in their interval."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        made = improvement(list(rng.standard_normal(6)), list(rng.standard_normal(6)))
        held += made.low is not None and made.high is not None and made.low <= 0.5 <= made.high
    assert 0.92 <= held / 400 <= 0.99


def test_best_of_is_the_bootstrap_worked_out() -> None:
    rng = np.random.default_rng(0)
    scores = [0.1, 0.4, 0.5, 0.9, 0.9]
    made = best_of(scores)
    for k in (1, 2, 5):
        drawn = rng.choice(scores, (40_000, k)).max(axis=1)
        assert made.mean[k - 1] == pytest.approx(drawn.mean(), abs=5e-3)
        assert made.low[k - 1] == np.percentile(drawn, 5, method="inverted_cdf")
        assert made.high[k - 1] == np.percentile(drawn, 95, method="inverted_cdf")


def test_best_of_counts_trials_that_were_stopped() -> None:
    """Half the trials have no score: of one trial the band's lower edge is unknown, of many it is not."""
    made = best_of([0.5, None, 0.7, None])
    assert made.trials == [1, 2, 3, 4]
    assert made.low[0] is None
    assert made.high[0] == 0.7
    assert made.mean[0] == pytest.approx(0.6)
    assert best_of([None, None]) == BestOf([1, 2], [None] * 2, [None] * 2, [None] * 2)
    assert best_of([]) == BestOf([], [], [], [])


def test_nothing_heavy_is_imported() -> None:
    """A page can be written where there is no torch; scipy waits until it is asked."""
    told = (
        "import sys; import plastic_search.report.statistics; light = 'scipy' not in sys.modules; "
        "import plastic_search.report.report; import plastic_search.report.figures as f; f.figures();"
        "heavy = {'torch', 'optuna', 'onnx', 'brevitas', 'matplotlib', 'jinja2', 'scipy'} & set(sys.modules);"
        "print(light, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_share_has_wilsons_interval() -> None:
    """Wilson's 95 % interval for 0 of 10 is [0, z^2 / (10 + z^2)], here 3.8415 / 13.8415."""
    made = share(0, 10)
    assert (made.value, made.low) == (0.0, 0.0)
    assert made.high == pytest.approx(0.27753, abs=1e-4)
    half = share(5, 10)
    assert (half.low, half.high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    with pytest.raises(PlasticSearchError, match="count from 0 to n"):
        share(3, 2)


def test_medians_have_intervals_of_values_that_were_seen() -> None:
    values = [float(k) for k in range(1, 22)]
    made = median(values)
    assert made.value == 11.0
    assert made.low is not None
    assert made.high is not None
    assert 5 <= made.low < 11 < made.high <= 17
    apart = median_difference([x + 30 for x in values], values)
    assert (apart.value, apart.sign) == (30.0, 1)
    assert median_difference(values, values).sign == 0
    assert median([1.0]).known is False
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
