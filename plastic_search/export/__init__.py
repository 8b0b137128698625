"""Exports: a trained network as something that runs, and goes on learning, elsewhere.

Each target traces `step.step`; none holds a table of rules, cells or modulations, so any part, also a user's, exports.
"""
