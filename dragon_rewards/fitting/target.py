"""What a head is fitted for: an encoder that can carry one, and a name under which it will be found."""

from __future__ import annotations

from dragon_rewards.errors import ComposeError, ConfigError
from dragon_rewards.heads import RECORD, VARIABLE, heads_folder, reduction_of
from dragon_rewards.names import check_name
from dragon_rewards.protocols import Modality
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.files import check_folder
from dragon_rewards.weights import require_weights

PLUGIN = "dragon_rewards.fitting.plugin"


def check_encoder(name: str) -> None:
    """Refuse an encoder that no head can be fitted with.

    Raises:
        UnknownNameError: no encoder of this name is registered.
        ComposeError: it hears no audio, or only reductions of its own know what its frames mean.
        WeightsError: its weights are not on this machine.
    """
    info = load_registry().encoder(name)
    if Modality.AUDIO not in info.modalities:
        embeds = " and ".join(sorted(info.modalities))
        raise ComposeError(f"encoder '{name}' embeds {embeds} and no audio; name another")
    if info.reductions:
        own = " and ".join(sorted(info.reductions))
        raise ComposeError(f"encoder '{name}' works only with {own}, not with a head; name another")
    require_weights(f"encoder '{name}'", info.weights)


def check_target(name: str, *, overwrite: bool) -> None:
    """Refuse a name under which a head could not be kept or found.

    Args:
        name: the name of the head.
        overwrite: whether it may replace the head of this name.

    Raises:
        ComposeError: it is no name that a part may have, or a plugin has a reduction of that name.
        ConfigError: there is a head of this name, and it may not be replaced.
        DragonError: nothing can be written to the folder of the heads.
    """
    registry, reduction = load_registry(), reduction_of(check_name(name))
    if reduction in registry.reductions:
        owner = registry.owners["register_reductions", reduction]
        if owner.name != PLUGIN:
            raise ComposeError(f"'{reduction}' is taken by {owner}; give the head another --name")
    if (heads_folder() / name / RECORD).exists() and not overwrite:
        raise ConfigError(f"there is a head '{name}'; give another --name, or --overwrite to replace it")
    check_folder(heads_folder(), VARIABLE)
