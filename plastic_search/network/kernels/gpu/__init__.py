"""The GPU backend: Triton code for one layer over a whole sequence."""
