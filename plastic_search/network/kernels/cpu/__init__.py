"""The CPU backend: a layer's functions as LLVM assembly, compiled by llvmlite, run by threads."""
