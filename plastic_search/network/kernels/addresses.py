"""Where one step of one episode reads and writes, for both backends.

A backend renders addresses as text: the CPU as LLVM registers, emitted in the order of the calls; the GPU as Triton
expressions. What is read and written, and under which names, stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from plastic_search.network.kernels.layout import Area, KernelSignature, Rows, row_name
from plastic_search.network.kernels.tracing.ir import Axis, Node
from plastic_search.network.kernels.tracing.program import STATIC, Slot, SynapseProgram, slot_of

__all__ = ["AddressBook", "StepAddresses", "static_nodes"]

Moment = TypeVar("Moment")  # how a backend names one time of one episode


class StepAddresses(NamedTuple):
    """Where the buffers of one step begin; "" for those that are not used."""

    drive: str = ""
    output: str = ""  # that of the step before, as this one received it
    pre: str = ""
    state: str = ""
    tape: str = ""
    signals: str = ""
    controls: str = ""
    d_drive: str = ""
    d_output: str = ""
    d_state: str = ""
    next_d_state: str = ""  # where the derivative of the step's initial state is written
    adjoints: str = ""
    d_previous: str = ""  # where the derivative of the output before is added
    d_signals: str = ""


def static_nodes(nodes: Sequence[Node]) -> list[Node]:
    """Those of `nodes`, in order of creation, that are one number, the same at every step."""
    found: dict[int, Node] = {}
    for node in nodes:
        inner = node.axis is Axis.ONE and node.op != "input" and all(a.index in found for a in node.args)
        if inner or (node.op == "input" and node.slot[0] in STATIC):
            found[node.index] = node
    return list(found.values())


class AddressBook(ABC, Generic[Moment]):
    """Addresses of everything that the two functions of one layer read and write."""

    def __init__(self, signature: KernelSignature) -> None:
        self.signature = signature

    # -- what a backend renders

    @abstractmethod
    def __getitem__(self, name: str) -> str:
        """Where the tensor called `name` begins, for this network of a population."""

    @abstractmethod
    def number(self, base: str, index: int) -> str:
        """The address of a single number."""

    @abstractmethod
    def row(self, area: Area, base: str, axis: Axis, number: int) -> str:
        """The address of a row of an area."""

    @abstractmethod
    def drive(self, base: str, number: int) -> str:
        """The address of one of the sums that the cell receives in a step, or of its derivative."""

    @abstractmethod
    def at(self, name: str, when: Moment) -> str:
        """Where a buffer begins at one time of one episode. `output` and `state` are those before that step."""

    @abstractmethod
    def d_pre(self, when: Moment) -> str:
        """Where the derivative of `pre` is written: kept for every step if that of the inputs is wanted."""

    def step(self, when: Moment) -> StepAddresses:
        """What a step reads, and what it wrote forward."""
        program = self.signature.program
        names = ["drive", "output", "pre", "state", "tape"]
        names += ["signals"] * bool(program.signals) + ["controls"] * bool(program.controls)
        step = StepAddresses(**{name: self.at(name, when) for name in names})
        return step._replace(output=self.or_else(when, "zero", step.output)) if self.signature.clears else step

    def d_previous(self, when: Moment) -> str:
        """Where the derivative of the output before a step is added, as the step received it."""
        address = self.at("d_output", when)
        return self.or_else(when, "unused", address) if self.signature.clears else address

    @abstractmethod
    def or_else(self, when: Moment, row: str, address: str) -> str:
        """An address, or that of a row of this episode's own, `zero` or `unused`, if it was cleared at that time."""

    def cleared(self, when: Moment) -> str:
        """The address of the number that is 1 where an episode was cleared."""
        return self.number(self.at("controls", when), self.signature.program.controls.index("cleared"))

    # -- rows by name

    def taped(self, tape: str, name: str) -> str:
        """The address of one of the vectors on a step's tape; "" where there is none."""
        return self._named(self.signature.tape, tape, name)

    def adjoint(self, adjoints: str, name: str) -> str:
        """The address of the derivative of one of a step's vectors."""
        return self._named(self.signature.adjoints, adjoints, name)

    def _named(self, rows: Rows, base: str, name: str) -> str:
        found = rows.find(name)
        return "" if found is None else self.row(rows.area, base, *found)

    def plastic_sums(self, base: str) -> tuple[str, ...]:
        """The sums of a step that a read of the trace adds to, or their derivatives."""
        return tuple(self.drive(base, number) for number in self.signature.plastic_sums)

    def writes(self, when: Moment) -> dict[Slot, str]:
        """The rows of units that the synapses read at one time, and the numbers that differ from step to step."""
        step = self.step(when)
        rows = [x for x in self.synapse_program.inputs() if x.axis is not Axis.PAIR and x.slot[0] not in STATIC]
        return {
            slot_of(x): self.at("dither", when) if x.slot[0] == "dither" else self.forward_input(step, *slot_of(x))
            for x in rows
        }

    @property
    def synapse_program(self) -> SynapseProgram:
        if self.signature.program.synapses is None:
            raise AssertionError("nothing is plastic")
        return self.signature.program.synapses

    def sums(self, adjoints: str) -> dict[tuple[Axis, int], str]:
        """Where the synapses add up their derivatives."""
        outputs = [o for o in self.synapse_program.backward.outputs if o.buffer == "sum"]
        return {(o.axis, o.number): self.adjoint(adjoints, row_name(o.axis, o.number)) for o in outputs}

    # -- the rows that the programs of the layer's parts read and write

    def forward_input(self, step: StepAddresses, buffer: str, axis: Axis, number: int) -> str:
        signature = self.signature
        match buffer:
            case "recall":
                return self.taped(step.tape, "recall")
            case "row":
                return self.taped(step.tape, row_name(axis, number))
            case "params":
                return self.row(signature.params, self["params"], axis, number)
            case "limits":
                return self.number(self["limits"], number)
            case "lengths":  # after the limits
                return self.number(self["limits"], 3 + number)
            case "drive":
                return self.drive(step.drive, number)
            case "state":
                return self.row(signature.state, step.state, axis, number)
            case "previous":
                return step.output
            case "signals":
                return self.number(step.signals, number)
        if buffer in signature.program.controls:
            return self.number(step.controls, signature.program.controls.index(buffer))
        return step.pre

    def forward_output(self, step: StepAddresses, after: StepAddresses, buffer: str, axis: Axis, number: int) -> str:
        """`after` are the addresses of the next step."""
        if buffer == "y":
            return after.output
        if buffer == "derived":
            return self.row(self.signature.params, self["params"], axis, number)
        if buffer == "state":
            return self.row(self.signature.state, after.state, axis, number)
        return self.taped(step.tape, row_name(axis, number))

    def backward_input(self, step: StepAddresses, buffer: str, axis: Axis, number: int) -> str:
        if buffer == "d.y":
            return step.d_output
        if buffer == "d.state":
            return self.row(self.signature.state, step.d_state, axis, number)
        if buffer == "sum":
            return self.adjoint(step.adjoints, row_name(axis, number))
        return self.forward_input(step, buffer, axis, number)

    def backward_output(self, step: StepAddresses, when: Moment, buffer: str, axis: Axis, number: int) -> str:
        match buffer:
            case "drive":
                return self.drive(step.d_drive, number)
            case "pre":
                return self.d_pre(when)
            case "recall":
                return self.adjoint(step.adjoints, "recall")
            case "previous":
                return step.d_previous
            case "signals":
                return self.number(step.d_signals, number)
            case "state":
                return self.row(self.signature.state, step.next_d_state, axis, number)
        return self.row(self.signature.params, self["d_params"], axis, number)
