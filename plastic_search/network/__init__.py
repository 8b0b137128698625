"""The specification of a network, the reference step, and everything that runs it."""
