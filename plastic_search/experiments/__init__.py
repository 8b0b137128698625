"""Questions and how they are answered: studies, comparisons, sweeps, and the verbs of the command line."""
