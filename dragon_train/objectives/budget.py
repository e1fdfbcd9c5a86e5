"""Share a budget of clips among prompts, so that the gradient varies least (GVM, arXiv 2505.02391).

`objectives.raft` makes a few clips of each prompt, its pilot, and asks here how many more each prompt is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

ALPHA, BETA = 1e-3, 2.0  # how soon a prompt is given up whose clips are hardly ever accepted; of the authors' code


def claims(norms: Tensor, accepted: Tensor) -> Tensor:
    """Return how many clips each prompt should have, up to a common factor, (prompts,).

    With G_i the gradient norm of a prompt's accepted clips and p_i the share that is accepted, n_i clips leave a
    variance of G_i^2 / (p_i n_i). Weighed by 1 / (1 + alpha p_i^-beta), which gives up what is hardly ever accepted,
    their sum is least for a fixed sum of n_i (there equation 7) where n_i is proportional to

        G_i / sqrt(p_i + alpha p_i^(1 - beta))

    Where no clip is accepted, or none has a gradient, it is 0. For equal G it rises as p falls to
    (alpha (beta - 1))^(1 / beta), which is 3.2%, and falls to 0 below.

    Args:
        norms: G, (prompts,).
        accepted: p, (prompts,).

    >>> claims(torch.tensor([1.0, 1.0, 2.0, 1.0]), torch.tensor([1.0, 0.25, 0.25, 0.0])).round(decimals=2)
    tensor([1.0000, 1.9800, 3.9700, 0.0000])
    """
    wanted = norms / (accepted + ALPHA * accepted ** (1 - BETA)).sqrt()
    return torch.where(accepted > 0, wanted, 0.0)


def allocated(wanted: Tensor, total: int, least: int) -> list[int]:
    """Return how many of `total` clips each prompt is given, by its claim; no prompt is given fewer than `least`.

    That many it has already. The sum of c_i / n_i is least under n_i >= least where n_i = max(least, w_i times a
    factor), as its derivative is the same for all prompts above their bound. Fractions of clips go to the largest.

    Args:
        wanted: w, the claims, (prompts,); where all are 0, prompts are given the same.
        total: the number of clips of all prompts, at least `least` for each.
        least: the number of clips of a prompt at least.

    >>> allocated(torch.tensor([1.0, 2.0, 5.0, 0.0]), 20, 2)
    [2, 5, 11, 2]
    """
    wanted = wanted.double() if wanted.any() else torch.ones(len(wanted), dtype=torch.float64)
    free = torch.ones(len(wanted), dtype=torch.bool)
    share = total * wanted / wanted.sum()
    while (short := free & (share < least)).any():
        free &= ~short
        left = total - least * int((~free).sum())
        share = torch.where(free, left * wanted / wanted[free].sum(), float(least))
    whole = share.floor()
    rest = total - int(whole.sum())
    whole[(share - whole).topk(rest).indices] += 1
    return [int(number) for number in whole.tolist()]
