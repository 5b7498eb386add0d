"""The device and precision that a run computes with."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch

from edge_runtime.errors import DataError


@dataclass(frozen=True)
class Compute:
    """A device and the precision of the forward pass; ``dtype`` float32 means no autocast."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Context of the forward pass."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    @property
    def needs_scaling(self) -> bool:
        """Whether gradients would underflow without loss scaling."""
        return self.dtype == torch.float16

    def describe(self) -> str:
        """For the summary on screen."""
        return f"{self.device} in {str(self.dtype).removeprefix('torch.')}, {torch.get_num_threads()} threads"


def choose_compute(device: str, precision: str) -> Compute:
    """Resolve ``--device`` and ``--precision``. Raises :class:`DataError` for a device that is not there.

    On CPUs bf16 pays only with AVX-512 BF16 or AMX instructions (twice as fast; without them it is emulated).
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DataError(f"--device: cannot use {device!r}: {str(error).splitlines()[0]}") from None
    if precision == "auto":
        precision = "bf16" if _bf16_is_fast(chosen) else "fp16" if chosen.type == "cuda" else "fp32"
    if precision == "fp16" and chosen.type == "cpu":
        raise DataError("--precision: expected fp32 or bf16 on a CPU, found 'fp16'")
    return Compute(chosen, {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision])


def _bf16_is_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
