"""A network in few bits: weight, alpha and trace at 8, 4, 3 and 2, together and alone, before and after fine-tuning.

What fine-tuning gives is not what rounding costs: the network is trained on in float too, for as long.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from plastic_search.core.errors import PlasticSearchError
from plastic_search.core.paths import as_paths
from plastic_search.experiments.events import Event, ended
from plastic_search.experiments.rounded import Trained, rounding_job, trained
from plastic_search.experiments.variants import Variant, tuned_and_not, variants, written
from plastic_search.experiments.workers import Ended, Pool
from plastic_search.precisions import Role
from plastic_search.precisions.integer import Integer
from plastic_search.records.folder import RunFolder
from plastic_search.records.run import WIDTHS, Stage

__all__ = ["quantize"]


def quantize(
    out: Path | str,
    bits: tuple[int, ...] | Integer = WIDTHS,
    workers: int = 2,
    files: Sequence[Path | str] = (),
    name: str = "",
    activity_bits: tuple[int, ...] = (),
) -> Generator[Event]:
    """Round a network of the question in `out` in every way of `variants`, or in one; an event after each.

    A study says how a network is trained on once it is rounded, `fine_tuning`, and a comparison may, by `tuning`; where
    it does not, networks are rounded only.

    Args:
        bits: widths to try; or one precision, which is tried alone.
        name: `winner`, another finalist, or a case of a comparison, whose runs are then called after it:
            `fixed-w4a32t32-nearest`. "" is the winner, or the case of the highest mean score.
        activity_bits: widths of activity to try too, beside widths of `bits`.

    Raises:
        PlasticSearchError: there is no such network yet, or it has no trace that could be rounded.
    """
    with RunFolder.open(out) as folder, Pool(workers, as_paths(files)) as pool:
        net = trained(folder, name)
        asked = {"bits": written(bits)} if isinstance(bits, Integer) else {}
        ways = _alone(net, bits) if isinstance(bits, Integer) else variants(bits, net.plastic, activity_bits)
        outcomes = {(r.name, r.seed): r.outcome for r in folder.stage(Stage.QUANTIZED)}
        every = [v for v in ways if not v.tuned or net.tuning is not None]
        jobs = [rounding_job(folder, net, v, seed, asked=asked) for v in every for seed in net.seeds]
        left = [job for job in jobs if not job.is_done(outcomes)]
        results = (result for result in pool.each(left) if isinstance(result, Ended))
        for count, (job, runs) in enumerate(results, start=len(jobs) - len(left) + 1):
            folder.append(*runs)
            yield Event(Stage.QUANTIZED, count, len(jobs), None, *ended(job.title, runs, "score"))


def _alone(net: Trained, precision: Integer) -> list[Variant]:
    """One way of rounding, tried alone.

    Raises:
        PlasticSearchError: it rounds a role that the network does not have.
    """
    idle = [role.value for role in (Role.ALPHA, Role.TRACE) if precision.format(role)]
    if idle and not net.plastic:
        raise PlasticSearchError(
            f"nothing is plastic in {net.run.name}, so it has no {' and no '.join(idle)}; give bits of its weight "
            f"alone, weight={precision.weight or 4}"
        )
    return tuned_and_not(precision)
