"""Random weights of the package `encodec`, and what it makes of sounds with them: original.py FOLDER.

Reads `sounds.safetensors`, stereo (clips, 2, samples) by name; writes, for each model, its weights to
`MODEL.safetensors` and the latents (clips, 128, frames) by the same names to `MODEL-latents.safetensors`. A process of
its own: encodec imports torchaudio to resample and to save, which is not asked of it here and which does not import
beside a CPU build of torch; what stands in for it must not reach transformers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.modules["torchaudio"] = ModuleType("torchaudio")
from encodec import EncodecModel  # noqa: E402  after the stand-in

MAKERS = {"encodec": EncodecModel.encodec_model_24khz, "encodec-48khz": EncodecModel.encodec_model_48khz}


def spread(model: nn.Module) -> None:
    """Twice torch's initial gain, with which 24 kHz audio would leave no trace beside the biases."""
    for name, weight in model.named_parameters():
        if name.endswith("weight_g"):
            weight.data *= 2


def latents(model: nn.Module, audio: Tensor) -> Tensor:
    """What the model quantises, its chunks one after the other."""
    outputs: list[Tensor] = []
    hook = model.get_submodule("encoder").register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.no_grad():
        model.encode(audio)
    hook.remove()
    return torch.cat(outputs, dim=-1)


def main(folder: Path) -> None:
    given = load_file(folder / "sounds.safetensors")
    for name, make in MAKERS.items():
        torch.manual_seed(0)
        model = make(pretrained=False)
        spread(model)
        model.set_target_bandwidth(min(model.target_bandwidths))  # the fewest codebooks; latents precede them
        save_file(model.state_dict(), folder / f"{name}.safetensors")
        made = {key: latents(model, audio[:, : model.channels]).contiguous() for key, audio in given.items()}
        save_file(made, folder / f"{name}-latents.safetensors")


main(Path(sys.argv[1]))
