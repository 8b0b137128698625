"""The CPU backend: LLVM code for one layer over a whole sequence."""
