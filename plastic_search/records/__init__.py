"""The run folder: a question, and what was measured. No torch."""
