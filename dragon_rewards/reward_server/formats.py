"""The JSON of requests for scores: this project's own form, and the form of Flow-Factory's remote reward models.

Files are base64 in both. The own form has the fields that verl-omni and flow_grpo send as a pickle, which can run code
and is not read. Flow-Factory's is what `RemoteRewardClient` sends (src/flow_factory/rewards/my_reward_remote.py at
a0b2bc5), with a field `audio` added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from dragon_rewards.errors import DragonError
from dragon_rewards.protocols import Modality
from dragon_rewards.remote.wire import WireError
from dragon_rewards.storage.decoding import decode_json
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

OWN = '{"audio": ["<base64 of a file>", ...], "prompts": ["...", ...]}'
FLOW_FACTORY = '{"prompt": ["...", ...], "audio": ["<base64 of a file>", ...]}'


@dataclass(frozen=True)
class Asked:
    """A group of files that a request asks to be scored.

    Attributes:
        modality: whether they are audio or images.
        field: the field of the request that holds them, for error messages.
        files: the bytes of each file; at least one.
        prompts: one text for each file, or None.
    """

    modality: Modality
    field: str
    files: Sequence[bytes]
    prompts: Sequence[str] | None


class OwnForm(Struct, frozen=True, forbid_unknown_fields=True):
    """The own form: either audio or images, with prompts; `metadata` is sent by trainers and not read."""

    audio: list[bytes] | None = None
    images: list[bytes] | None = None
    prompts: list[str] | None = None
    metadata: Any = None


class FlowFactoryForm(Struct, frozen=True, forbid_unknown_fields=True):
    """The form of Flow-Factory; its client sends null for the media that its reward model does not name."""

    prompt: list[str] | None = None
    image: list[bytes] | None = None
    audio: list[bytes] | None = None
    video: Any = None
    condition_images: Any = None
    condition_videos: Any = None


def read_own(body: bytes) -> Asked:
    """Read a body of the own form.

    Raises:
        WireError: the body is of no such form, holds no files, or not as many prompts as files.
    """
    sent = _decoded(body, OwnForm, OWN)
    return _asked({("audio", Modality.AUDIO): sent.audio, ("images", Modality.IMAGE): sent.images}, sent.prompts)


def read_flow_factory(body: bytes) -> Asked:
    """Read a body of Flow-Factory's form.

    Raises:
        WireError: the body is of no such form, holds no files, video or media that condition others, or not as many
            prompts as files.
    """
    sent = _decoded(body, FlowFactoryForm, FLOW_FACTORY)
    for field in ("video", "condition_images", "condition_videos"):
        if getattr(sent, field) is not None:
            raise WireError(f"no reward here reads '{field}': send 'audio' or 'image' alone")
    return _asked({("audio", Modality.AUDIO): sent.audio, ("image", Modality.IMAGE): sent.image}, sent.prompt)


def _decoded(body: bytes, form: type[T], example: str) -> T:
    try:
        return decode_json(body, form, "the body", f"send {example}")
    except DragonError as error:
        raise WireError(str(error)) from error


def _asked(media: Mapping[tuple[str, Modality], list[bytes] | None], prompts: list[str] | None) -> Asked:
    given = [(field, modality, files) for (field, modality), files in media.items() if files is not None]
    if len(given) != 1:
        either = " or ".join(f"'{field}'" for field, _ in media)
        raise WireError(
            f"the body has {counted(len(given), 'kind')} of media: send either {either}, a list of one file or more"
        )
    ((field, modality, files),) = given
    if not files:
        raise WireError(f"'{field}' is an empty group: send one file or more")
    if prompts is not None and len(prompts) != len(files):
        raise WireError(
            f"the body has {counted(len(prompts), 'prompt')} for {counted(len(files), 'file')}: send one prompt for "
            "each file"
        )
    return Asked(modality, field, files, prompts)
