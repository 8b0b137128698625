"""A study so small that a test can run it: generated patterns, a handful of steps."""

from __future__ import annotations

from plastic_search.cells.rnn import RNN
from plastic_search.core.space import choice, integer, real
from plastic_search.experiments.study import Study
from plastic_search.modulations.constant import Constant
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient


def study(trials: int = 3, steps: int = 4) -> Study:
    short = Gradient(steps=steps, batch=8, reports=2)
    return Study(
        question="Does anything come back?",
        space=NetworkSpec(
            (
                Layer(units=integer(3, 7), structure=Gated(density=real(0.2, 0.9), support=FeedForward())),
                Layer(
                    units=4,
                    cell=RNN(),
                    skip=(1,),
                    plastic=Pathway.INPUT,
                    structure=FeedForward(),
                    rule=choice(Hebb(decay=real(0.0, 1.0)), Oja()),
                    modulation=Constant(rate=0.2),
                ),
            )
        ),
        task=PatternCompletion(bits=4, patterns=1, present=1, delay=0),
        trainer=short,
        finalist=short,
        fine_tuning=short,
        trials=trials,
        seeds=(0, 1),
    )
