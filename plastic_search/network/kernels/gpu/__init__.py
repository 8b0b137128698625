"""The GPU backend: a layer's functions as Triton source, which Triton compiles."""
