"""How long do a plastic layer's episodes take, forward and backward, beside the law and a layer that is not plastic?"""

from plastic_search.benchmark import Benchmark, Case
from plastic_search.cells.lstm import LSTM
from plastic_search.modulations.retroactive import Retroactive
from plastic_search.spec import Layer, Pathway

BENCHMARK = Benchmark(
    question="How long do a plastic layer's episodes take, forward and backward?",
    cases=(
        Case(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=200),
        Case(Layer(200, plastic=Pathway.RECURRENT), batch=30, time=200),
        Case(Layer(64, plastic=Pathway.RECURRENT), batch=30, time=200),
        Case(Layer(512, plastic=Pathway.RECURRENT), batch=8, time=100),
        Case(Layer(100, plastic=Pathway.RECURRENT), batch=128, time=50),
        Case(Layer(100, modulation=Retroactive(), plastic=Pathway.RECURRENT), batch=30, time=200),
        Case(Layer(100, LSTM(), plastic=Pathway.RECURRENT), batch=30, time=200),
        Case(Layer(16, plastic=Pathway.RECURRENT), batch=30, time=200),
        Case(Layer(32, plastic=Pathway.RECURRENT), batch=30, time=200),
        Case(Layer(100, plastic=Pathway.RECURRENT), batch=4, time=200),
        Case(Layer(100, plastic=Pathway.RECURRENT), batch=30, time=50),
    ),
)
