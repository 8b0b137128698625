"""With `--every`: the digit learner in integers keeps its score on a small device, equal to its golden model."""

from __future__ import annotations

import subprocess
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_c_on_cortex_m4 import FLASH, LEARNER, MISSING, RAM

from plastic_search.export import c
from plastic_search.export.c import writing
from plastic_search.export.c.exact import saved
from plastic_search.export.c.network import Source, source
from plastic_search.export.c.running import compiled, compiler
from plastic_search.network.module import Network
from plastic_search.precisions.floating import Floating
from plastic_search.tasks import Split
from plastic_search.tasks.digit_recall import DigitRecall
from plastic_search.trainers.gradient import Gradient

EPISODES = 10_000


def trained() -> Network:
    """The winner of `digit_recall`, as its study trains and fine-tunes it."""
    task, net = DigitRecall(ways=5), Network(replace(LEARNER, precision=Floating()), 69)
    for _ in Gradient(steps=2000).train(net, task, 0):
        pass
    rounded = Network(LEARNER, 69)
    rounded.load_state_dict(net.state_dict())
    for _ in Gradient(steps=200, learning_rate=3e-3, cooldown_fraction=1.0).train(rounded, task, 0):
        pass
    return rounded


def equal(program: Path, code: Source, xs: np.ndarray) -> np.ndarray:
    """The last outputs [episodes, outputs] of episodes [episodes, time, inputs], all those of the golden model."""
    size, last = code.state + 12, []
    with subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        first = process.stdout.read(size)
        for episode in xs:
            golden, state, y = deepcopy(code.golden), first, np.zeros(0)
            assert golden
            for x in episode:
                process.stdin.write(state + x.tobytes())
                process.stdin.flush()
                y = golden.step(x)
                assert process.stdout.read(2 * len(y)) == y.astype("<i2").tobytes()
                state = process.stdout.read(size)
                assert state[8:-4] == saved(golden, code)
            last.append(y)
        process.stdin.close()
    return np.array(last)


@pytest.mark.skipif(compiler() is None or bool(MISSING), reason="without a C compiler, the one for Arm, or QEMU")
def test_the_digit_learner_is_its_golden_model_in_every_episode(every: bool, tmp_path: Path) -> None:
    if not every:
        pytest.skip("with --every")
    net, task = trained(), DigitRecall(ways=5)
    device = c.write(net, tmp_path / "learner.c", arithmetic=c.Arithmetic.INTEGER, target=c.Target.CORTEX_M4).device
    assert device is not None
    (tmp_path / "check.c").write_text(writing.template("check.c", "learner"))
    program = compiled([tmp_path / "check.c", tmp_path / "learner.c"], tmp_path / "check")
    drawn = task.episodes(EPISODES, Split.TEST, torch.Generator().manual_seed(1))
    xs = np.round(drawn.inputs.numpy() * 2**12).astype("<i2").transpose(1, 0, 2)
    outputs = equal(program, source(net, "learner", c.Arithmetic.INTEGER), np.ascontiguousarray(xs))
    score = float((outputs.argmax(1) == drawn.targets.numpy()).mean())
    with torch.no_grad():
        reference = float(task.scores(net(drawn.inputs)[0], drawn).mean())
    print(f"{score:.4f} in C, {reference:.4f} in the reference, {EPISODES} episodes equal; {device}")
    assert score >= 0.95
    assert device.flash <= FLASH
    assert device.ram <= RAM
