"""Does a neuromodulated plastic network recall handwritten digits after one look?"""

from plastic_search.core.loading import value
from plastic_search.experiments.study import Study
from plastic_search.tasks.digit_recall import DigitRecall
from plastic_search.trainers.gradient import Gradient

STUDY = Study(
    question="Does a neuromodulated plastic network recall handwritten digits after one look, and how small can it be?",
    space=value("search_spaces", "one_shot"),
    task=DigitRecall(ways=5),
    trainer=Gradient(steps=600),
    finalist=Gradient(steps=2000),
    fine_tuning=Gradient(steps=200, learning_rate=3e-3, cooldown_fraction=1.0),
    trials=40,
    trial_seeds=(0,),
    seeds=(0, 1, 2),
)
