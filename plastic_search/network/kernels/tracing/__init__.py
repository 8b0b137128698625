"""Captures the step functions of a layer's parts as small graphs (programs), which every backend compiles."""
