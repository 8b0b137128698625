"""What do trained intrinsic numbers add by themselves, and is it training or variety that adds it?

Backpropagated intrinsic plasticity (BIP; Zhang and Li 2021, arXiv 2010.12691) alone: a feed-forward network without
self-recurrence or skip connections on the spoken digits of FSDD. Numbers that are alike in all units or drawn, fixed or
trained, is the comparison of Perez-Nieves et al. 2021 (Nature Communications 12:5791) in another network and task.
"""

from plastic_search.cells.integrator import Integrator
from plastic_search.cells.lif import LIF
from plastic_search.experiments.comparison import Better, Case, Change, Comparison, Metric
from plastic_search.network.initial import FanIn, Initial, Uniform
from plastic_search.network.spec import Layer, NetworkSpec
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.tasks.spoken_digits import SpokenDigits
from plastic_search.trainers.gradient import Gradient

STUDY = Comparison(
    question="What do trained intrinsic numbers add to a spiking network, and is it their training or their variety?",
    cases=(
        Case(
            "fixed, alike",
            changes=(Change("held", ("layers.*.cell",)),),
            about="weights alone are trained; all units have the same intrinsic numbers",
            group="fixed",
        ),
        Case(
            "fixed, drawn",
            changes=(
                Change("held", ("layers.*.cell",)),
                Change(
                    "initial",
                    (
                        Initial("layers.*.weight.input", FanIn(6.0)),
                        Initial("layers.*.cell.membrane", Uniform(-3.85, -1.85)),
                        Initial("layers.*.cell.synapse", Uniform(-1.0, 1.0)),
                        Initial("layers.*.cell.threshold", Uniform(-0.5, 0.5)),
                        Initial("layers.*.cell.resistance", Uniform(-0.5, 0.5)),
                    ),
                ),
            ),
            about="weights alone are trained; the intrinsic numbers of every unit are drawn",
            group="fixed",
        ),
        Case(
            "fixed, more units",
            changes=(
                Change("held", ("layers.*.cell",)),
                Change("layers.0.units", 67),
                Change("layers.1.units", 67),
                Change("layers.2.units", 67),
            ),
            about="weights alone are trained, of more units: in all as many parameters as with all four trained",
            group="fixed",
        ),
        Case(
            "membrane",
            changes=(
                Change(
                    "held",
                    ("layers.*.cell.synapse", "layers.*.cell.threshold", "layers.*.cell.resistance", "layers.3.cell"),
                ),
            ),
            about="time constants of membranes are trained with the weights",
            group="one trained",
        ),
        Case(
            "synapse",
            changes=(
                Change(
                    "held",
                    ("layers.*.cell.membrane", "layers.*.cell.threshold", "layers.*.cell.resistance", "layers.3.cell"),
                ),
            ),
            about="time constants of synaptic currents are trained with the weights",
            group="one trained",
        ),
        Case(
            "threshold",
            changes=(
                Change(
                    "held",
                    ("layers.*.cell.membrane", "layers.*.cell.synapse", "layers.*.cell.resistance", "layers.3.cell"),
                ),
            ),
            about="thresholds are trained with the weights",
            group="one trained",
        ),
        Case(
            "resistance",
            changes=(
                Change(
                    "held",
                    ("layers.*.cell.membrane", "layers.*.cell.synapse", "layers.*.cell.threshold", "layers.3.cell"),
                ),
            ),
            about="resistances are trained with the weights",
            group="one trained",
        ),
        Case(
            "all, from alike",
            about="all four are trained with the weights, and start alike in all units",
            group="all trained",
        ),
        Case(
            "all, from drawn",
            changes=(
                Change(
                    "initial",
                    (
                        Initial("layers.*.weight.input", FanIn(6.0)),
                        Initial("layers.*.cell.membrane", Uniform(-3.85, -1.85)),
                        Initial("layers.*.cell.synapse", Uniform(-1.0, 1.0)),
                        Initial("layers.*.cell.threshold", Uniform(-0.5, 0.5)),
                        Initial("layers.*.cell.resistance", Uniform(-0.5, 0.5)),
                    ),
                ),
            ),
            about="all four are trained with the weights, and start where they were drawn",
            group="all trained",
        ),
    ),
    spec=NetworkSpec(
        layers=(
            Layer(64, LIF(membrane=18.0, synapse=2.0), structure=FeedForward()),
            Layer(64, LIF(membrane=18.0, synapse=2.0), structure=FeedForward()),
            Layer(64, LIF(membrane=18.0, synapse=2.0), structure=FeedForward()),
            Layer(10, Integrator(start=20.0), structure=FeedForward()),
        ),
        initial=(Initial("layers.*.weight.input", FanIn(6.0)),),
        held=("layers.3.cell",),
    ),
    task=SpokenDigits(),
    trainer=Gradient(steps=200, learning_rate=5e-3, batch=64, cooldown_fraction=0.6),
    metrics=(Metric("score", "accuracy"), Metric("spikes", "spikes per unit and step", Better.NEITHER)),
    reference="fixed, alike",
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "The readout's time constants are fixed in all cases.",
        "Drawn numbers are uniform in what is stored: time constants of membranes from 7 to 46 steps, of synaptic "
        "currents from 1.4 to 3.7, thresholds and resistances within a factor of 1.65. Where they are alike: 18, 2, 1 "
        "and 5.",
        "200 updates, a third of those in the study `spoken_digits`: what is trained faster is ahead, too.",
    ),
)
