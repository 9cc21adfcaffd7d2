"""Names that are part of a packaged graph."""

METADATA = "medscreen"
"""The graph's property under which its description stands, as JSON."""

REFUSAL = "refused_no_grey_level_above_1_give_uint8_images_in_0_to_255_not_floats_in_0_to_1"
"""Shown by ONNX Runtime as the name of the node that fails: the one way a graph has to say why it refuses."""
