"""Do spiking networks with plastic synapses add up noisy cues over a delay that static ones do not outlast?

The claims of SpikePropamine (Schmidgall et al. 2021, arXiv 2106.02681), in a reconstruction of ours: their sizes,
constants and tables could not be read. A network tested at twice the noise is that of the same name, trained alike.
"""

from plastic_search.cells.alif import ALIF
from plastic_search.cells.integrator import Integrator
from plastic_search.core.loading import value
from plastic_search.experiments.comparison import Better, Case, Change, Comparison, Metric
from plastic_search.modulations.simple import Simple
from plastic_search.network.spec import Pathway
from plastic_search.rules.trace_bcm import TraceBCM
from plastic_search.structures.dense import Dense
from plastic_search.tasks.cue_association import CueAssociation
from plastic_search.trainers.gradient import Gradient

STUDY = Comparison(
    question="Do plastic synapses let spiking networks add up noisy cues over a delay, where static ones do not?",
    cases=(
        Case(
            "static",
            changes=(Change("layers.0.plastic", Pathway.NONE),),
            about="no plasticity, feed-forward",
            group="static",
        ),
        Case(
            "static, three times the units",
            changes=(
                Change("layers.0.plastic", Pathway.NONE),
                Change("layers.0.units", 120),
            ),
            about="no plasticity, feed-forward, 120 units: as many parameters as the plastic ones",
            group="static",
        ),
        Case(
            "static, recurrent",
            changes=(
                Change("layers.0.plastic", Pathway.NONE),
                Change("layers.0.structure", Dense()),
            ),
            about="no plasticity, every unit connected with every other",
            group="static",
        ),
        Case(
            "static, adaptive",
            changes=(
                Change("layers.0.plastic", Pathway.NONE),
                Change("layers.0.cell", ALIF(membrane=5.0)),
            ),
            about="no plasticity, feed-forward, thresholds that rise with every spike",
            group="static",
        ),
        Case(
            "static, slow readout",
            changes=(
                Change("layers.0.plastic", Pathway.NONE),
                Change("layers.1.cell", Integrator(start=100.0)),
            ),
            about="no plasticity, feed-forward, a readout that forgets ten times as slowly",
            group="static",
        ),
        Case(
            "Oja",
            about="Oja's rule on spike traces, a rate learned for each synapse",
            group="plastic",
        ),
        Case(
            "BCM",
            changes=(Change("layers.0.rule", TraceBCM(tau=5.0, rate=0.05)),),
            about="BCM on spike traces, a rate learned for each synapse",
            group="plastic",
        ),
        Case(
            "Oja, modulated",
            changes=(Change("layers.0.modulation", Simple()),),
            about="Oja's rule, and the network sets the rate at every step",
            group="plastic",
        ),
        Case(
            "BCM, modulated",
            changes=(
                Change("layers.0.rule", TraceBCM(tau=5.0, rate=0.05)),
                Change("layers.0.modulation", Simple()),
            ),
            about="BCM, and the network sets the rate at every step",
            group="plastic",
        ),
        Case(
            "static, noisy",
            changes=(Change("layers.0.plastic", Pathway.NONE),),
            task=CueAssociation(test_noise=0.1),
            about="no plasticity, feed-forward, tested at twice the noise",
            group="twice the noise",
        ),
        Case(
            "Oja, noisy",
            task=CueAssociation(test_noise=0.1),
            about="Oja's rule on spike traces, a rate learned for each synapse, tested at twice the noise",
            group="twice the noise",
        ),
        Case(
            "BCM, noisy",
            changes=(Change("layers.0.rule", TraceBCM(tau=5.0, rate=0.05)),),
            task=CueAssociation(test_noise=0.1),
            about="BCM on spike traces, a rate learned for each synapse, tested at twice the noise",
            group="twice the noise",
        ),
        Case(
            "Oja, modulated, noisy",
            changes=(Change("layers.0.modulation", Simple()),),
            task=CueAssociation(test_noise=0.1),
            about="Oja's rule, and the network sets the rate at every step, tested at twice the noise",
            group="twice the noise",
        ),
        Case(
            "BCM, modulated, noisy",
            changes=(
                Change("layers.0.rule", TraceBCM(tau=5.0, rate=0.05)),
                Change("layers.0.modulation", Simple()),
            ),
            task=CueAssociation(test_noise=0.1),
            about="BCM, and the network sets the rate at every step, tested at twice the noise",
            group="twice the noise",
        ),
    ),
    spec=value("search_spaces", "spiking_cue_association"),
    task=CueAssociation(),
    trainer=Gradient(steps=600, learning_rate=5e-3, batch=64, cooldown_fraction=0.3),
    metrics=(
        Metric("score", "accuracy"),
        Metric("frozen", "accuracy, trace frozen at 0", Better.NEITHER),
        Metric("shuffled", "accuracy, trace shuffled", Better.NEITHER),
    ),
    reference="static",
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "Reconstructed: Schmidgall et al. state the task, the rules and the claims, but sizes, constants, the model of "
        "noise and the tables could not be read.",
        "All networks have 40 x 40 fixed synapses onto spiking units, but for that of 120 units and the recurrent one. "
        "The plastic ones have as many alphas, and those with a learned rate as many rates.",
        "A network that is tested at twice the noise is trained as the one of the same name without noise in it: a "
        "probability of a further spike of 0.05 in training, 0.1 in the test.",
    ),
)
