"""Check that packaged graphs have no control flow."""

from pathlib import Path

import onnx

from medscreen.errors import MedscreenError

_SUBGRAPHS = frozenset({onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS})


def require_straight(graph: bytes | Path) -> None:
    """Raises MedscreenError for an invalid ONNX graph, and for one with control-flow operators (Loop, Scan, If).

    Detectors have no control flow, and a loop may never end.
    """
    name = graph if isinstance(graph, Path) else "The graph"
    try:
        model = onnx.ModelProto()
        model.ParseFromString(graph.read_bytes() if isinstance(graph, Path) else graph)
    except OSError as error:
        raise MedscreenError(f"{name} can't be loaded ({error.strerror}). Name a packaged detector's file.") from error
    except Exception as error:  # protobuf raises several types
        raise MedscreenError(f"{name} can't be loaded: not a valid ONNX file. Fetch or train it again.") from error
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    found = sorted({node.op_type for node in nodes if any(map(_is_subgraph, node.attribute))})
    if found:
        raise MedscreenError(
            f"{name} is refused: it has control flow ({', '.join(found)}), which a packaged detector must not have. "
            "Package it with this version of medscreen."
        )


def _is_subgraph(attribute: onnx.AttributeProto) -> bool:
    return attribute.type in _SUBGRAPHS or attribute.HasField("g") or bool(attribute.graphs)
