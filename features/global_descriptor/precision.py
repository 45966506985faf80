"""Which numbers a processor multiplies fast."""

from __future__ import annotations

from features.hardware import processor_flags

SMALLEST_HALF = 96


def cpu_half_precision(input_size: tuple[int, int]) -> bool:
    """True if this CPU multiplies bfloat16 in hardware (AMX or AVX512-BF16); without it bfloat16 is slower.

    Never for inputs narrower than ``SMALLEST_HALF``: torch 2.13 on AMX gives garbage (even NaN) for a strided 3 x 3
    convolution of a bfloat16 map of about 4 x 2 pixels, which is what is left of such an input.
    """
    if min(input_size) < SMALLEST_HALF:
        return False
    flags = processor_flags()
    if "avx512_bf16" in flags:
        return True
    if flags and "amx_tile" not in flags:
        return False
    # Of AMX the system may have something to say, and other systems say nothing at all: torch asks them.
    import torch

    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        supported = getattr(torch.cpu, probe, None)
        if supported is not None and supported():
            return True
    return False
