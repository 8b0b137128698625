"""A network in integers fits a small Cortex-M4, and computes there what its golden model does."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from plastic_search.cells.linear import Linear
from plastic_search.cells.lstm import LSTM
from plastic_search.core.errors import PlasticSearchError
from plastic_search.export import c
from plastic_search.export.c import cortex_m4
from plastic_search.export.c.network import source
from plastic_search.modulations.learned import Learned
from plastic_search.network.module import Network
from plastic_search.network.spec import Layer, NetworkSpec, Pathway
from plastic_search.precisions import Rounding
from plastic_search.precisions.integer import Integer
from plastic_search.rules.oja import Oja
from plastic_search.structures.feed_forward import FeedForward
from plastic_search.structures.gated import Gated

TOOLS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "make", "qemu-system-arm")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")
FLASH, RAM, STACK = 16 * 1024, 2 * 1024, 1024

# the winner of `digit_recall`: 69 inputs, features that do not change, five answers whose synapses are plastic
LEARNER = NetworkSpec(
    (
        Layer(91, LSTM(), structure=Gated(0.41, support=FeedForward())),
        Layer(
            5, Linear(), skip=(1,), rule=Oja(), modulation=Learned(), plastic=Pathway.INPUT,
            structure=Gated(0.45, 0.58, support=FeedForward()),
        ),
    ),
    Integer(4, 4, 8, Rounding.STOCHASTIC),
)  # fmt: skip


def learner(spec: NetworkSpec = LEARNER) -> Network:
    net, rng = Network(spec, 69), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    return net


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> c.Written:
    file = tmp_path_factory.mktemp("device") / "learner.c"
    return c.write(learner(), file, 50, 1, c.Arithmetic.INTEGER, c.Target.CORTEX_M4)


def test_a_learner_runs_in_16_kb_of_flash_and_2_kb_of_ram(written: c.Written) -> None:
    device = written.device
    assert device is not None
    print(device)
    assert device.steps == 50
    assert device.flash <= FLASH
    assert device.ram <= RAM
    assert device.stack <= STACK
    assert 4 * 2592 < device.instructions < 40 * 4 * 2592
    cortex_m4.linked(written.file.parent, FLASH, RAM, STACK)


def test_what_does_not_fit_is_not_linked(written: c.Written) -> None:
    for flash, ram, region in ((FLASH // 4, RAM, "flash"), (FLASH, 256, "ram")):
        with pytest.raises(PlasticSearchError, match=f"will not fit in region `{region}'"):
            cortex_m4.linked(written.file.parent, flash, ram, 128)


def test_a_stack_that_is_too_small_faults(written: c.Written, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written.file.parent, tmp_path / "copy"))
    code = source(learner(), "learner", c.Arithmetic.INTEGER)
    cortex_m4.linked(folder, FLASH, RAM, 64)
    with pytest.raises(PlasticSearchError, match=r"exit code .*9: a fault"):
        cortex_m4.measured(folder, code, 69, 5, 1, 0)


def test_floats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlasticSearchError, match="--arithmetic integer"):
        c.write(learner(replace(LEARNER)), tmp_path / "network.c", target=c.Target.CORTEX_M4)
