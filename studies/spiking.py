"""Which spiking network adds up noisy cues best? The search space `spiking` on the task of `cue_association`."""

from plastic_search.core.loading import value
from plastic_search.experiments.study import Study
from plastic_search.tasks.cue_association import CueAssociation
from plastic_search.trainers.gradient import Gradient

STUDY = Study(
    question="Which spiking network adds up noisy cues best?",
    space=value("search_spaces", "spiking"),
    task=CueAssociation(),
    trainer=Gradient(steps=200, learning_rate=5e-3, batch=64, cooldown_fraction=0.3),
    finalist=Gradient(steps=600, learning_rate=5e-3, batch=64, cooldown_fraction=0.3),
    fine_tuning=Gradient(steps=150, learning_rate=3e-3, batch=64, cooldown_fraction=1.0),
    trials=40,
)
