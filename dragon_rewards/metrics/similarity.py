"""The cosine similarity of clips with their prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import checked_matrix, clip_means, directions
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def clap_score(frames: Sequence[Tensor], prompts: Tensor) -> Tensor:
    """Return the cosine between the mean of each clip's frames and the clip's prompt: (clips,), from -1 to 1.

        score_c = m_c . t_c / (|m_c| |t_c|),    m_c = 1 / n_c sum_i x_ci

    It is the CLAP score where both come from the towers of CLAP (Wu et al., arXiv 2211.06687). Differentiable in both.

    Args:
        frames: per clip a matrix (frames, d).
        prompts: (clips, d), in the same space.

    Raises:
        DragonError: there are no clips, not as many prompts as clips, another dimension, a clip without frames, NaN or
            infinite values, or a mean or prompt of length zero; the clip is named by its index.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import clap_score
        >>> round(clap_score([torch.tensor([[2.0, 0.0], [0.0, 2.0]])], torch.tensor([[1.0, 0.0]])).item(), 6)
        0.707107
    """
    prompts = checked_matrix(prompts, "the prompts", minimum=0)
    if len(prompts) != len(frames):
        raise DragonError(
            f"{counted(len(frames), 'clip')} cannot be compared with {counted(len(prompts), 'prompt')}: one prompt "
            "per clip"
        )
    means = clip_means(frames, prompts.shape[1])
    return (directions(means, "mean frame of clip") * directions(prompts.to(means.device), "prompt")).sum(1)
