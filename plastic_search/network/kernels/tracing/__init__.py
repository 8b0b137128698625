"""From the step functions of parts to a small graph of operations that every backend lowers."""
