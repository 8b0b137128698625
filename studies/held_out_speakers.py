"""How well does a spiking network know the digits of a speaker of whom it was trained with no recording?

One speaker of FSDD after another is held out: all of their recordings are the test. The network is that of the study
`spoken_digits` with self-recurrence, skip connections and trained intrinsic numbers, trained half as long.
"""

from plastic_search.core.loading import value
from plastic_search.experiments.comparison import Case, Comparison, Metric
from plastic_search.tasks.spoken_digits import SpokenDigits
from plastic_search.trainers.gradient import Gradient

STUDY = Comparison(
    question="How well does a spiking network know the digits of a speaker of whom it was trained with no recording?",
    cases=(
        Case("official split", about="recordings 0 to 4 of every speaker are the test"),
        Case("george", task=SpokenDigits(held_out="george"), about="all recordings of george are the test"),
        Case("jackson", task=SpokenDigits(held_out="jackson"), about="all recordings of jackson are the test"),
        Case("lucas", task=SpokenDigits(held_out="lucas"), about="all recordings of lucas are the test"),
        Case("nicolas", task=SpokenDigits(held_out="nicolas"), about="all recordings of nicolas are the test"),
        Case("theo", task=SpokenDigits(held_out="theo"), about="all recordings of theo are the test"),
        Case("yweweler", task=SpokenDigits(held_out="yweweler"), about="all recordings of yweweler are the test"),
    ),
    spec=value("search_spaces", "spiking_spoken_digits"),
    task=SpokenDigits(),
    trainer=Gradient(steps=300, learning_rate=5e-3, batch=64, cooldown_fraction=0.6),
    metrics=(Metric("score", "accuracy"),),
    reference="official split",
    seeds=(0, 1, 2, 3, 4),
    notes=("Validation is recordings 5 to 9 of the speakers who are not held out.",),
)
