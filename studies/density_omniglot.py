"""How few connections recall characters of unseen alphabets after one look, and does it matter which?"""

from plastic_search.cells.linear import Linear
from plastic_search.cells.rnn import RNN
from plastic_search.experiments.sweep import Group, Sweep
from plastic_search.modulations.constant import Constant
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated
from plastic_search.structures.pooled import Pooled
from plastic_search.structures.pruned import Pruned
from plastic_search.structures.rewired import Rewired
from plastic_search.tasks.omniglot_recall import OmniglotRecall
from plastic_search.trainers.gradient import Gradient

STUDY = Sweep(
    question="How few connections recall characters of unseen alphabets after one look, and does it matter which?",
    axis="share of the connections that exist",
    base=NetworkSpec(
        (
            Layer(units=64, cell=RNN(), structure=FeedForward()),
            Layer(
                units=5,
                skip=(1,),
                plastic=Pathway.INPUT,
                rule=Oja(),
                cell=Linear(),  # a tanh saturates within 100 updates in one seed of eight, which then stays at chance
                modulation=Constant(rate=0.1),
                structure=FeedForward(),
            ),
        )
    ),
    groups=(
        Group("learned", Gated(support=FeedForward())),
        Group("pooled", Pooled(support=FeedForward())),
        Group("random", Rewired(exchanged=0.0, support=FeedForward())),
        Group("pruned", Pruned(support=FeedForward())),
    ),
    values=(0.5, 0.2, 0.1, 0.05),
    task=OmniglotRecall(ways=5),
    trainer=Gradient(steps=1500, learning_rate=3e-3),
    tuning=Gradient(steps=500, learning_rate=1e-3, cooldown_fraction=1.0),
    seeds=(0, 1, 2, 3, 4),
)
