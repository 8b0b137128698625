"""Noisy cues, added up by plastic synapses."""

from plastic_search.report.report import Report

REPORT = Report(
    study="cue_association",
    answer="Plastic synapses carry the cues over the delay: with the trace frozen these networks answer at chance. At "
    "the same time constants a static feed-forward network does not, nor one with as many parameters; recurrent and "
    "adaptive ones come nearer. It is a matter of time constants, not of what static networks can do: with a readout "
    "that forgets ten times as slowly, a static feed-forward network adds the cues up nearly as well.\n\n"
    "Shuffling the trace when the recall begins changes little, since by then the readout holds the answer. Modulated "
    "and unmodulated rules differ little here. At twice the noise of training every plastic network is right in more "
    "than nine cases of ten.",
)
