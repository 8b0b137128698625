"""Benchmarks: what is timed, beside what, and what this machine has."""
