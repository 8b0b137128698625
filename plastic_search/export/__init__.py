"""Exports a trained network to formats that run, and go on learning, without torch.

Every exporter but one traces `step.step`; none of these has a table of rules, cells or modulations, so any part can be
exported, user-defined ones included. The one is `nir`, a format of other tools with a fixed set of units.
"""
