"""What is asked and carried out: studies, sweeps, searches, and the verbs of the command line."""
