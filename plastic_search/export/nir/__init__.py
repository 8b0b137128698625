"""Networks as files of NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024, arXiv 2311.14711).

Other tools read the fixed part of what is written, the network whose traces stay 0; plasticity is in the metadata of
nodes, from which `read` makes the same plastic network again.
"""

from plastic_search.export.nir.reading import read
from plastic_search.export.nir.writing import write

__all__ = ["read", "write"]
