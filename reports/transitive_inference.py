"""Whether a plastic network infers pairs that it never saw, at a reduced scale."""

from plastic_search.report.report import Report

REPORT = Report(
    study="transitive_inference",
    answer="Yes: all three networks put pairs in order that they never saw together, and more surely than neighbours, "
    "of which they did. With the trace frozen at zero, its entries exchanged, or the rate held at its mean, they are "
    "at chance: what they know of a list is in the trace, and the network decides when it is written.\n\n"
    "Reduced from the paper's scale: 100 units in place of 200, 12,000 updates of 30,000 with three times the learning "
    "rate, three seeds, one list an episode in place of three. There is no control without plasticity here.",
)
