"""Statistics against numbers worked by hand, by scipy, or known in closed form."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.statistics import (
    BestOf,
    best_of,
    bounded,
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
    result = mean([1.0, 2.0, 3.0])
    assert result.value == 2.0
    assert result.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)
    assert result.high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    assert result.n == 3


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        ([0.96, 0.99, 1.0], None, None, 1.0),
        ([0.0, 0.01, 0.2], None, 0.0, None),
        ([0.1, 0.9], None, 0.0, 1.0),
        ([0.5, 0.51, 0.52], None, None, None),
        ([1.0, 1.0, 1.0], None, 1.0, 1.0),
        ([1.0, 0.9], [0.0, 0.3], None, 1.0),
        ([0.0, 0.3], [1.0, 0.9], -1.0, None),
        ([1.000005, 0.9], None, None, 1.0),
        ([1.2, 0.9], None, None, None),
        ([0.9, -0.1], None, None, None),
        ([0.9, 0.95], [3.0, 4.0], None, None),
    ],
)
def test_intervals_of_scores_stay_where_scores_can_be(
    ours: list[float], theirs: list[float] | None, low: float | None, high: float | None
) -> None:
    """And are cut nowhere else, nor where the values are no scores from 0 to 1."""
    whole = mean(ours) if theirs is None else difference(ours, theirs)
    result = bounded(whole, ours) if theirs is None else bounded(whole, ours, theirs)
    assert (result.low, result.high) == (whole.low if low is None else low, whole.high if high is None else high)
    assert result._replace(low=whole.low, high=whole.high) == whole
    assert bounded(mean([0.9]), [0.9]) == mean([0.9])


def test_one_seed_has_no_interval_and_says_so() -> None:
    for result in (mean([0.9]), difference([0.9], [0.8]), improvement([0.9], [0.8, 0.7]), iqm([0.9])):
        assert (result.low, result.high, result.known, result.sign) == (None, None, False, 0)
        assert "no interval" in result.note


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    with pytest.raises(PlasticSearchError, match="finite"):
        mean(values)


def test_difference_is_welchs() -> None:
    from scipy.stats import ttest_ind

    x, y = [0.91, 0.93, 0.92, 0.95], [0.85, 0.91, 0.88]
    result, known = difference(x, y), ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert (result.low, result.high) == pytest.approx((known.low, known.high))
    assert result.sign == int(known.low > 0)


def test_difference_without_spread() -> None:
    result = difference([1.0, 1.0], [0.5, 0.5])
    assert (result.value, result.low, result.high) == (0.5, 0.5, 0.5)
    assert result.sign == 1


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    result = iqm([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0])
    assert result.value == 3.5
    assert result.low is not None
    assert result.high is not None
    assert result.low < 3.5 < result.high
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
    result = improvement([3.0, 4.0, 5.0], [0.0, 1.0, 2.0])
    assert (result.value, result.high) == (1.0, 1.0)
    assert result.low == pytest.approx(0.501, abs=1e-3)
    other = improvement([0.0, 1.0, 2.0], [3.0, 4.0, 5.0])
    assert (other.value, other.low) == (0.0, 0.0)
    assert other.high == pytest.approx(1 - 0.501, abs=1e-3)


def test_improvements_interval_covers() -> None:
    """Of 400 draws of two groups of 6 whose true probability is 0.5, about 95 % have it in their interval."""
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(400):
        result = improvement(list(rng.standard_normal(6)), list(rng.standard_normal(6)))
        kept += result.low is not None and result.high is not None and result.low <= 0.5 <= result.high
    assert 0.92 <= kept / 400 <= 0.99


def test_best_of_is_the_bootstrap_worked_out() -> None:
    rng = np.random.default_rng(0)
    scores = [0.1, 0.4, 0.5, 0.9, 0.9]
    result = best_of(scores)
    for k in (1, 2, 5):
        drawn = rng.choice(scores, (40_000, k)).max(axis=1)
        assert result.mean[k - 1] == pytest.approx(drawn.mean(), abs=5e-3)
        assert result.low[k - 1] == np.percentile(drawn, 5, method="inverted_cdf")
        assert result.high[k - 1] == np.percentile(drawn, 95, method="inverted_cdf")


def test_best_of_counts_trials_that_were_stopped() -> None:
    """Half the trials have no score: of one trial the band's lower edge is unknown, of many it is not."""
    result = best_of([0.5, None, 0.7, None])
    assert result.trials == [1, 2, 3, 4]
    assert result.low[0] is None
    assert result.high[0] == 0.7
    assert result.mean[0] == pytest.approx(0.6)
    assert best_of([None, None]) == BestOf([1, 2], [None] * 2, [None] * 2, [None] * 2)
    assert best_of([]) == BestOf([], [], [], [])


def test_nothing_heavy_is_imported() -> None:
    """A page can be written where there is no torch; scipy waits until it is asked."""
    message = (
        "import sys; import plastic_search.core.statistics; light = 'scipy' not in sys.modules; "
        "import plastic_search.report.report; import plastic_search.report.figures as f; f.figures();"
        "heavy = {'torch', 'optuna', 'onnx', 'brevitas', 'matplotlib', 'jinja2', 'scipy'} & set(sys.modules);"
        "print(light, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", message], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_share_has_wilsons_interval() -> None:
    """Wilson's 95 % interval for 0 of 10 is [0, z^2 / (10 + z^2)], here 3.8415 / 13.8415."""
    result = share(0, 10)
    assert (result.value, result.low) == (0.0, 0.0)
    assert result.high == pytest.approx(0.27753, abs=1e-4)
    half = share(5, 10)
    assert (half.low, half.high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    with pytest.raises(PlasticSearchError, match="count from 0 to n"):
        share(3, 2)


def test_medians_have_intervals_of_values_that_were_seen() -> None:
    values = [float(k) for k in range(1, 22)]
    result = median(values)
    assert result.value == 11.0
    assert result.low is not None
    assert result.high is not None
    assert 5 <= result.low < 11 < result.high <= 17
    apart = median_difference([x + 30 for x in values], values)
    assert (apart.value, apart.sign) == (30.0, 1)
    assert median_difference(values, values).sign == 0
    assert median([1.0]).known is False
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
