"""What an ONNX file of a bundle consists of: operations on tensors, and numbers that are all in the file.

Read before onnxruntime gets it. None of it holds another graph, reads a file, draws at random, or makes text or lists;
but sequence.onnx has the step inside of one Scan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["FIELDS", "OPERATIONS", "Graph", "largest_constant", "read"]

FIELDS = 200_000  # of all messages in a file
Graph = dict[int, list[Any]]  # a message, by the numbers of ONNX's fields
OPERATIONS = """Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
Cast Ceil Celu Clip Concat Constant ConstantOfShape Cos Cosh CumSum DequantizeLinear Div Elu Equal Erf Exp Expand
Flatten Floor Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max Mean Min Mish Mod Mul Neg Not OneHot Or PRelu
Pad Pow QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
ReduceSum ReduceSumSquare Relu Reshape Round Scan ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice
Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Tan Tanh Tile TopK Transpose Trilu Unsqueeze Where Xor"""
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 11: 64, 12: 32, 13: 64, 21: 4, 22: 4}  # of ONNX's types
MESSAGES = {  # of ONNX: the fields that a step needs, by number; i: integer, f: float, b: bytes, *: may be repeated
    "Model": {1: "i", 2: "b", 3: "b", 4: "b", 5: "i", 6: "b", 7: "Graph", 8: "Opset*"}, "Opset": {1: "b", 2: "i"},
    "Graph": {1: "Node*", 2: "b", 5: "Tensor*", 10: "b", 11: "Value*", 12: "Value*", 13: "Value*"},
    "Node": {1: "b*", 2: "b*", 3: "b", 4: "b", 5: "Attribute*", 6: "b", 7: "b"},
    "Attribute": {1: "b", 2: "f", 3: "i", 4: "b", 5: "Tensor", 6: "Graph", 7: "f*", 8: "i*", 20: "i"},
    "Tensor": {1: "i*", 2: "i", 5: "b", 8: "b", 9: "b"}, "Value": {1: "b", 2: "Type"}, "Type": {1: "TensorType"},
    "TensorType": {1: "i", 2: "Shape"}, "Shape": {1: "Dimension*"}, "Dimension": {1: "i", 2: "b"},
}  # fmt: skip
SCAN = [(b"body", True, None), (b"num_scan_inputs", False, [1])]  # its attributes: name, whether a graph, number


def read(data: bytes, file: str) -> list[Graph]:
    """The graph in step.onnx; in sequence.onnx that around the step, and the step's.

    Raises:
        ValueError: it has more than it may have; other errors where it is no ONNX file.
    """
    graph = _message(memoryview(data), "Model", iter(range(FIELDS))).get(7, [{}])[0]
    bodies = [node[5][0][6][0] for node in _scans(graph)]
    if len(bodies) != (file == "sequence.onnx"):
        raise ValueError(f"it has the operation 'Scan' {len(bodies)} times; sequence.onnx has it once, step.onnx never")
    if any(_scans(body) or 5 in body for body in bodies):
        raise ValueError("it has numbers, or the operation 'Scan', inside of the step that it repeats")
    for each in (graph, *bodies):
        _check_divisions(each)
    return [graph, *bodies]


def largest_constant(graphs: list[Graph], memory: int) -> int:
    """Bytes of the largest constant that onnxruntime may compute from others; 0 where all could exceed `memory`."""
    most = 8 * max((math.prod(each.get(1, [])) for graph in graphs for each in graph.get(5, [])), default=0)
    return most * (most * sum(len(graph.get(1, [])) for graph in graphs) <= memory)


def _scans(graph: Graph) -> list[Graph]:
    """The nodes that repeat a graph."""
    return [node for node in graph.get(1, []) if node[4] == [b"Scan"]]


def _check_divisions(graph: Graph) -> None:
    """Refuse a division of what is not stated to be floats: of whole numbers it can end the process."""
    values = [*graph.get(12, []), *graph.get(13, [])]
    others = {bytes(each[1][0]) for each in values if each.get(2, [{}])[0].get(1, [{}])[0].get(1) != [1]}
    divided = {bytes(name) for node in graph.get(1, []) if node[4] == [b"Div"] for name in node.get(2, [])}
    if divided - ({bytes(each[1][0]) for each in values} - others):
        raise ValueError("it divides what may be whole numbers, which can end the process")


def _message(data: memoryview, name: str, left: Iterator[int], at: int = 0) -> Graph:
    """The fields of a message from `at` on, by number; `left` counts those of all messages down."""
    found: Graph = {}
    while at < len(data):
        key, at = _integer(data, at)
        form = MESSAGES[name].get(key >> 3, "")
        kind = form.rstrip("*")
        odd = key & 7 != {"i": 0, "f": 5}.get(kind, 2) or (key >> 3 in found and kind == form)
        if not form or odd or next(left, None) is None:
            raise ValueError(f"it has field {key >> 3} of {name}, which no step has or not twice, or too many fields")
        number, at = (4, at) if kind == "f" else _integer(data, at)
        content, at = data[at : at + number], at + number * (kind != "i")
        if at > len(data):
            raise ValueError("it ends too early")
        value = number if kind == "i" else _message(content, kind, left) if kind in MESSAGES else content
        found.setdefault(key >> 3, []).append(value)
    _check_message(name, found)
    return found


def _integer(data: memoryview, at: int) -> tuple[int, int]:
    """An integer of at most 64 bits, and where it ends."""
    groups = data[at : at + 10].tolist()
    count = next(i for i, group in enumerate(groups, start=1) if group < 128)
    return sum((group & 127) << 7 * i for i, group in enumerate(groups[:count])) % 2**64, at + count


def _check_message(name: str, found: Graph) -> None:
    """Refuse operations that are not of a step, and tensors whose numbers are not in the file, as many as stated."""
    if name == "Opset" and (found.get(1, [b""]), found.get(2)) != ([b""], [21]):
        raise ValueError("it must be of operator set 21, and no other")
    if name == "Node":
        operation = str(found.get(4, [b""])[0], "latin-1")
        if operation not in OPERATIONS.split() or found.get(7, [b""]) != [b""]:
            again = "; export the network again" * (operation == "Einsum")  # which earlier versions wrote
            raise ValueError(f"it has the operation {operation!r:.60}, which a step may not have{again}")
        attributes = [(bytes(each[1][0]), 6 in each, each.get(3)) for each in found.get(5, [])]
        if attributes != SCAN if operation == "Scan" else any(held for _, held, _ in attributes):
            raise ValueError(f"it has {operation} with other attributes than those that repeat a step")
        for each in found.get(5, []):
            number, text = each.get(3, [0])[0], str(each.get(4, [b""])[0], "latin-1")
            wrong = {"Constant": 5 not in each, "GatherND": number >= FIELDS}  # its batch_dims may be negative
            wrong |= {"Cast": each.get(1) == [b"to"] and number not in BITS, "Split": FIELDS < number < 2**63}
            if wrong.get(operation):
                raise ValueError(f"it has {operation} of what is no number, negative or too large: {text!r:.60}")
    if name == "Tensor":
        bits, shape = BITS.get(found.get(2, [0])[0], 0), found.get(1, [])
        integers = int((np.frombuffer(found.get(5, [b""])[0], np.uint8) < 128).sum())  # one for two numbers of 4 bits
        held = len(found[9][0]) if 9 in found else integers * max(8, bits) // 8
        if not bits or len(shape) > 8 or held != (bits * math.prod(shape) + 7) // 8:
            raise ValueError("it has a tensor that is not of numbers, or not of as many as its shape")
