"""Networks as C99: one file of code, which steps, learns, and is saved and restored without a library.

The programs that are captured from a layer's parts, and that the CPU and the GPU kernels lower, are lowered here too:
no cell, rule, modulation, bound or rounding is written a second time. Arrays that do not change are constants, of
integers where the precision rounds them; connections that do not exist are not stored where that is smaller.
"""

from plastic_search.export.c.network import Arithmetic
from plastic_search.export.c.writing import Target, Written, write

__all__ = ["Arithmetic", "Target", "Written", "write"]
