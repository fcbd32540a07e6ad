"""What codes lose: the error of each code and group, as a share of the weights, on normal and on heavy-tailed weights.

python -m bench.quantize

Beside ours stand the same with the largest number's scale alone (no search), and with a zero point a group (2 bytes more).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.rounds import machine
from lodestar.build import quantize
from lodestar.build.quantize import coded
from lodestar.model.quantized import BITS, Code

SEED, SHAPE = 0, (896, 4864)
CODES: tuple[Code, ...] = ("int8", "nf4", "int4")


def error(weight: Tensor, found: Tensor) -> float:
    return float((found - weight).norm() / weight.norm())


def with_zero_points(weight: Tensor, group: int) -> Tensor:
    """16 even levels from the smallest to the largest number of a group."""
    groups = weight.unflatten(1, (-1, group))
    low, high = groups.amin(2, keepdim=True), groups.amax(2, keepdim=True)
    step = ((high - low) / 15).bfloat16().float()
    zero = low.bfloat16().float()
    return (((groups - zero) / step).round().clamp(0, 15) * step + zero).flatten(1)


def main() -> None:
    print(machine({"torch": torch.__version__}, seed=SEED))
    drawn = torch.Generator().manual_seed(SEED)
    normal = torch.randn(SHAPE, generator=drawn)
    torch.manual_seed(SEED)
    heavy = torch.distributions.StudentT(5.0).sample(torch.Size(SHAPE))
    searched = quantize.SHRINKS
    print("| code | group | bits a weight | normal | no search | Student's t, 5 degrees | no search |\n|---|---|---|---|---|---|---|")
    for code in CODES:
        for group in (32, 64, 128):
            cells = []
            for weight in (normal, heavy):
                for shrinks in (searched, (1.0,)):
                    quantize.SHRINKS = shrinks
                    cells.append(f"{error(weight, coded(weight, None, code, group).dequantized(torch.float32)):.2%}")
            quantize.SHRINKS = searched
            print(f"| {code} | {group} | {BITS[code] + 16 / group:.3f} | {' | '.join(cells)} |")
    for group in (32, 64, 128):
        cells = [f"{error(weight, with_zero_points(weight, group)):.2%}" for weight in (normal, heavy)]
        print(f"| int4 with zero points | {group} | {4 + 32 / group:.3f} | {cells[0]} | | {cells[1]} | |")


if __name__ == "__main__":
    main()
