"""Which projections does recall of digits need: of the input, of the layer before, of a layer to itself?"""

from plastic_search.cells.lstm import LSTM
from plastic_search.experiments.sweep import Group, Sweep
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.oja import Oja
from plastic_search.structures.blocks import Blocks
from plastic_search.tasks.digit_recall import DigitRecall
from plastic_search.trainers.gradient import Gradient

STUDY = Sweep(
    question="How many projections into each layer does recall of digits need?",
    axis="projections into each layer that exist",
    base=NetworkSpec(
        (
            Layer(units=64, cell=LSTM()),  # may receive the input, its other units, and each unit itself
            Layer(units=5, skip=(1,), plastic=Pathway.BOTH, rule=Oja()),  # ... and the layer before
        )
    ),
    base_name="all",
    groups=(Group("learned", Blocks()),),
    values=(1, 2, 3),
    field="keep",
    budget="",
    task=DigitRecall(ways=5),
    trainer=Gradient(steps=1500),
    tuning=Gradient(steps=500, learning_rate=3e-3, cooldown_fraction=1.0),
    seeds=(0, 1, 2, 3, 4),
)
