"""Kernels: fast paths for whole sequences. Each equals `step.step` run over time, forward and backward.

A layer's parts are captured as a small graph (`tracing`), which is compiled for the CPU (`cpu`, by LLVM) or the GPU
(`gpu`, by Triton). `dispatch` chooses the kernel of each layer, `autograd` makes it one differentiable operation of
torch, and `layout` explains how its memory is laid out, and what a checkpoint and a segment are.
"""
