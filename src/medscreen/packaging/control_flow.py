"""Refusal of packaged graphs with loops or branches."""

from pathlib import Path

import onnx

from medscreen.errors import MedscreenError

_SUBGRAPHS = frozenset({onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS})


def require_straight(graph: bytes | Path) -> None:
    """Raises MedscreenError for a graph that is no ONNX, and for one with an operator that runs another graph.

    Those are Loop, Scan, If and their like: a detector has none of them, and a loop may never end.
    """
    name = graph if isinstance(graph, Path) else "The graph"
    try:
        model = onnx.ModelProto()
        model.ParseFromString(graph.read_bytes() if isinstance(graph, Path) else graph)
    except OSError as error:
        raise MedscreenError(f"{name} can't be loaded ({error.strerror}); name a packaged detector's file.") from error
    except Exception as error:  # protobuf has error classes of its own
        raise MedscreenError(f"{name} can't be loaded: it is no whole ONNX file; fetch or train it again.") from error
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    found = sorted({node.op_type for node in nodes if any(map(_is_subgraph, node.attribute))})
    if found:
        raise MedscreenError(
            f"{name} is refused: it holds {', '.join(found)}, and a detector needs no loop or branch, which may never "
            "end; package it with this medscreen."
        )


def _is_subgraph(attribute: onnx.AttributeProto) -> bool:
    return attribute.type in _SUBGRAPHS or attribute.HasField("g") or bool(attribute.graphs)
