"""Exports a trained network to formats that run, and go on learning, without torch.

Every exporter traces `step.step`; none has a table of rules, cells or modulations, so any part can be exported,
user-defined ones included.
"""
