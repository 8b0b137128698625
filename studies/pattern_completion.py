"""Which rule completes a pattern that was seen once, in a recurrent network?"""

from plastic_search.cells.rnn import RNN
from plastic_search.core.space import choice, real
from plastic_search.experiments.study import Study
from plastic_search.modulations.constant import Constant
from plastic_search.modulations.learned import Learned
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.modulations.simple import Simple
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.rules.abcd import ABCD
from plastic_search.rules.bcm import BCM
from plastic_search.rules.delta import Delta
from plastic_search.rules.hebb import Hebb
from plastic_search.rules.oja import Oja
from plastic_search.structures.dense import Dense
from plastic_search.structures.gated import Gated
from plastic_search.tasks.pattern_completion import PatternCompletion
from plastic_search.trainers.gradient import Gradient

STUDY = Study(
    question="Which rule and which modulation complete a sign pattern that was seen once, in a recurrent network?",
    space=NetworkSpec(
        layers=(
            Layer(
                units=20,
                cell=RNN(),
                plastic=choice(Pathway.RECURRENT, Pathway.INPUT, Pathway.BOTH),
                rule=choice(ABCD(), BCM.space(), Delta(), Hebb.space(), Oja()),
                modulation=choice(Constant.space(), Learned(), Retroactive(), Simple()),
                structure=choice(Dense(), Gated(density=real(0.2, 1.0))),
            ),
        )
    ),
    task=PatternCompletion(bits=20, patterns=2),
    trainer=Gradient(steps=400, learning_rate=3e-3),
    finalist=Gradient(steps=1500, learning_rate=3e-3),
    trials=16,
)
