"""Where one step of one episode reads and writes, for both backends.

A backend renders addresses as text: the CPU as LLVM registers, emitted in the order of the calls; the GPU as Triton
expressions. What is read and written, and under which names, stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, TypeVar

from plastic_search.network.kernels.layout import Area, KernelSignature, Rows, Writes
from plastic_search.network.kernels.tracing.ir import Axis

__all__ = ["AddressBook", "StepAddresses"]

Moment = TypeVar("Moment")  # how a backend names one time of one episode


class StepAddresses(NamedTuple):
    """Where the buffers of one step begin; "" for those that are not used."""

    drive: str = ""
    output: str = ""
    pre: str = ""
    state: str = ""
    tape: str = ""
    d_drive: str = ""
    d_output: str = ""
    d_state: str = ""
    next_d_state: str = ""  # where the derivative of the step's initial state is written
    adjoints: str = ""


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
        """The address of one of the drives of a step, or of its derivative."""

    @abstractmethod
    def at(self, name: str, when: Moment) -> str:
        """Where a buffer begins at one time of one episode. `output` and `state` are those before that step."""

    @abstractmethod
    def d_pre(self, when: Moment) -> str:
        """Where the derivative of `pre` is written: kept for every step if that of the inputs is wanted."""

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

    def writes(self, when: Moment) -> Writes:
        """The vectors that are written to the trace at one time."""
        tape, pre, v_is_pre = self.at("tape", when), self.at("pre", when), self.signature.v_is_pre
        u = tuple(self.taped(tape, f"u{k}") for k in range(len(v_is_pre)))
        v = tuple(pre if is_pre else self.taped(tape, f"v{k}") for k, is_pre in enumerate(v_is_pre))
        row, column, write, eta = (self.taped(tape, name) for name in ("row", "column", "write", "eta"))
        return Writes(u, v, row, column, write, eta, self.at("dither", when))

    def d_writes(self, adjoints: str) -> Writes:
        """The derivatives of those vectors."""
        row, column, write, eta = (self.adjoint(adjoints, name) for name in ("row", "column", "write", "eta"))
        u, v = (tuple(self.adjoint(adjoints, f"{x}{k}") for k in range(len(self.signature.v_is_pre))) for x in "uv")
        return Writes(u, v, row, column, write, eta, "")

    # -- the rows that the programs of the layer's parts read and write

    def forward_input(self, step: StepAddresses, buffer: str, axis: Axis, number: int) -> str:
        signature = self.signature
        match buffer:
            case "recall":
                return self.taped(step.tape, "recall")
            case "params":
                return self.row(signature.params, self["params"], axis, number)
            case "lengths":  # after the limits
                return self.number(self["limits"], 3 + number)
            case "drive":
                return self.drive(step.drive, number)
            case "state":
                return self.row(signature.state, step.state, axis, number)
        return step.pre

    def forward_output(self, step: StepAddresses, after: StepAddresses, buffer: str, axis: Axis, number: int) -> str:
        """`after` are the addresses of the next step."""
        if buffer == "y":
            return after.output
        if buffer == "state":
            return self.row(self.signature.state, after.state, axis, number)
        return self.taped(step.tape, f"{buffer}{number}" if buffer in ("u", "v") else buffer)

    def backward_input(self, step: StepAddresses, buffer: str, axis: Axis, number: int) -> str:
        if buffer == "d.y":
            return step.d_output
        if buffer == "d.state":
            return self.row(self.signature.state, step.d_state, axis, number)
        if not buffer.startswith("d."):
            return self.forward_input(step, buffer, axis, number)
        name = buffer.removeprefix("d.")
        return self.adjoint(step.adjoints, f"{name}{number}" if name in ("u", "v") else name)

    def backward_output(self, step: StepAddresses, when: Moment, buffer: str, axis: Axis, number: int) -> str:
        match buffer:
            case "drive":
                return self.drive(step.d_drive, number)
            case "pre":
                return self.d_pre(when)
            case "recall":
                return self.adjoint(step.adjoints, "recall")
            case "state":
                return self.row(self.signature.state, step.next_d_state, axis, number)
        return self.row(self.signature.params, self["d_params"], axis, number)
