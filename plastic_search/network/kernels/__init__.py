"""Fast paths for whole sequences. Each equals `step.step` run over time, forward and backward."""
