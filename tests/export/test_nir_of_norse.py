"""A file that norse's own exporter wrote is read, and computes the spikes that norse computed.

`norse.npz` holds the file, its inputs [40, 3, 5] and the spikes [40, 3, 4]. It was made with norse 1.1.0, nir 1.0.8 and
torch 2.13.0, none of which is needed here but nir, by

    import nir, numpy as np, torch
    from norse.torch import LIFBoxCell, SequentialState
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.utils.export_nir import to_nir

    def units(count):
        more = {"v_leak": torch.zeros(count), "v_reset": torch.zeros(count)}
        rates, thresholds = torch.linspace(100, 400, count), torch.linspace(0.3, 0.7, count)
        return LIFBoxCell(LIFBoxParameters(rates, v_th=thresholds, **more))

    torch.manual_seed(2)
    model = SequentialState(torch.nn.Linear(5, 7), units(7), torch.nn.Linear(7, 4, bias=False), units(4))
    spikes, state, x = [], None, (torch.rand(40, 3, 5) < 0.4).float()
    with torch.no_grad():
        for weight in (model.get_parameter("0.weight"), model.get_parameter("2.weight")):
            weight.mul_(9.0)
        for inputs in x:
            y, state = model(inputs, state)
            spikes.append(y)
    nir.write("norse.nir", to_nir(model, x[0, :1]))
    file = np.frombuffer(open("norse.nir", "rb").read(), np.uint8)
    np.savez_compressed("norse.npz", nir=file, inputs=x.bool().numpy(), spikes=torch.stack(spikes).bool().numpy())
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from plastic_search.cells.lif import LIF
from plastic_search.export import nir
from plastic_search.structures.feed_forward import FeedForward

pytest.importorskip("h5py", reason="h5py is not installed")


@torch.no_grad()
def test_a_file_of_norses_exporter_gives_the_spikes_of_norse(tmp_path: Path) -> None:
    kept = np.load(Path(__file__).with_name("norse.npz"))
    (tmp_path / "norse.nir").write_bytes(kept["nir"].tobytes())
    net = nir.read(tmp_path / "norse.nir", step=1e-6)
    assert [(type(layer.cell), type(layer.structure)) for layer in net.spec.layers] == [(LIF, FeedForward)] * 2
    net.kernel = "reference"
    y, _ = net(torch.from_numpy(kept["inputs"]).float())
    assert np.array_equal(y.numpy(), kept["spikes"])
    assert kept["spikes"].mean((0, 1)).min() > 0.1
