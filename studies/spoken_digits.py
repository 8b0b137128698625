"""What do self-recurrence, skip connections and trained intrinsic numbers add to a spiking network?

The parts of ScSr-SNN with BIP (Zhang and Li 2021, arXiv 2010.12691), on the spoken digits of FSDD in place of TI46,
which is not free: results do not compare with theirs. `--set task.held_out=theo` holds out all recordings of a speaker.
"""

from plastic_search.core.loading import value
from plastic_search.experiments.comparison import Case, Change, Comparison, Metric
from plastic_search.structures.dense import Dense
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.spoken_digits import SpokenDigits
from plastic_search.trainers.gradient import Gradient

STUDY = Comparison(
    question="What do self-recurrence, skip connections and trained intrinsic numbers add to a spiking network?",
    cases=(
        Case(
            "feed-forward",
            changes=(
                Change("layers.0.structure", FeedForward()),
                Change("layers.1.structure", FeedForward()),
                Change("layers.2.structure", FeedForward()),
                Change("layers.1.skip", ()),
                Change("layers.2.skip", ()),
                Change("layers.3.skip", ()),
                Change("held", ("layers.*.cell",)),
            ),
            about="no recurrence, no skip connections",
        ),
        Case(
            "self-recurrent",
            changes=(
                Change("layers.1.skip", ()),
                Change("layers.2.skip", ()),
                Change("layers.3.skip", ()),
                Change("held", ("layers.*.cell",)),
            ),
            about="every unit receives itself",
        ),
        Case(
            "self-recurrent, skip",
            changes=(Change("held", ("layers.*.cell",)),),
            about="and each layer the two before it",
        ),
        Case(
            "self-recurrent, BIP",
            changes=(
                Change("layers.1.skip", ()),
                Change("layers.2.skip", ()),
                Change("layers.3.skip", ()),
            ),
            about="every unit receives itself; its intrinsic numbers are trained",
        ),
        Case(
            "self-recurrent, skip, BIP",
            about="self-recurrence, skip connections, and trained intrinsic numbers",
        ),
        Case(
            "recurrent",
            changes=(
                Change("layers.0.structure", Dense()),
                Change("layers.1.structure", Dense()),
                Change("layers.2.structure", Dense()),
                Change("layers.1.skip", ()),
                Change("layers.2.skip", ()),
                Change("layers.3.skip", ()),
                Change("held", ("layers.*.cell",)),
            ),
            about="every unit receives its whole layer, no skip connections",
        ),
    ),
    spec=value("search_spaces", "spiking_spoken_digits"),
    task=SpokenDigits(),
    trainer=Gradient(steps=600, learning_rate=5e-3, batch=64, cooldown_fraction=0.6),
    metrics=(Metric("score", "accuracy"),),
    reference="self-recurrent",
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "The currents of a cochlea in outline, 64 channels every 8 ms, are the input; `--set task.encoder=BSA` turns "
        "them into spikes.",
        "Which layers the skip connections of the paper join, and which numbers BIP trains there, could not be read.",
    ),
)
