"""The run folder: what was asked and what was measured. No torch."""
