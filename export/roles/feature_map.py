"""Between backbone and head: the layouts of a feature map, and calling any head with one."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Layout = Literal["NCHW", "NHWC"]
"""Layout of the feature map between graphs: NCHW in ONNX, NHWC in TFLite."""


def call_head(head: nn.Module, feature_map_nchw: Tensor, metadata: Tensor | None) -> dict[str, Tensor]:
    """Run a head and return its outputs by name: ``logits`` and, where the head has it, ``outlier_score``."""
    return by_name(head(feature_map_nchw) if metadata is None else head(feature_map_nchw, metadata))


def by_name(outputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a head's only output its name."""
    return dict(outputs) if isinstance(outputs, dict) else {"logits": outputs}


def to_layout(feature_map_nchw: Tensor, layout: Layout) -> Tensor:
    """Transpose a feature map from NCHW to the layout of the graphs."""
    return feature_map_nchw if layout == "NCHW" else feature_map_nchw.permute(0, 2, 3, 1)


def from_layout(feature_map: Tensor, layout: Layout) -> Tensor:
    """Transpose a feature map from the layout of the graphs to NCHW."""
    return feature_map if layout == "NCHW" else feature_map.permute(0, 3, 1, 2)
