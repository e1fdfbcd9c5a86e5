"""Each encoder runs once per set of clips, whichever rewards ask; what cannot be encoded is named."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dragon_rewards.errors import AudioError, DragonError, EncoderError, MissingPromptsError
from dragon_rewards.media.clips import Clips
from dragon_rewards.media.encodable import CPU_BATCH
from dragon_rewards.protocols import Encoder, EncoderInfo, Modality

RATE = 8_000


class Counting:
    """One frame per 100 samples: their mean and their largest value. Counts its passes and the clips it saw."""

    identity = "counting-1"

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.texts: list[str] = []

    def encode_audio(self, audio: Tensor) -> Tensor:
        self.batches.append((audio.shape[0], audio.shape[1]))
        frames = audio.unfold(1, 100, 100) if audio.shape[1] >= 100 else audio.new_zeros(len(audio), 0, 100)
        return torch.stack([frames.mean(-1), frames.amax(-1)], -1) if frames.shape[1] else frames[..., :2]

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        self.texts += texts
        return torch.tensor([[float(len(text)), 1.0] for text in texts])


class AudioOnly:
    identity = "audio-only"

    def __init__(self, frames: Tensor) -> None:
        self.frames = frames

    def encode_audio(self, audio: Tensor) -> Tensor:
        return self.frames.expand(len(audio), *self.frames.shape[1:])


def info(name: str = "counting", rate: int = RATE, dim: int = 2) -> EncoderInfo:
    return EncoderInfo(name, frozenset({Modality.AUDIO}), dim, rate, "CC0-1.0", "for tests", Counting)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_an_encoder_runs_once_whoever_asks() -> None:
    clips, encoder = Clips(noise(3, 400), RATE, prompts=["a", "bb", "ccc"]), Counting()
    first = clips.embeddings(info(), encoder)
    second = clips.embeddings(info(), encoder, with_prompts=True)
    clips.embeddings(info(), encoder, with_prompts=True)
    assert encoder.batches == [(3, 400)]
    assert encoder.texts == ["a", "bb", "ccc"]
    assert first.prompts is None
    assert second.prompts is not None
    assert second.prompts[:, 0].tolist() == [1.0, 2.0, 3.0]
    clips.embeddings(info("another"), encoder)
    assert len(encoder.batches) == 2


def test_ragged_clips_are_batched_by_length_shortest_first_and_keep_their_order() -> None:
    lengths = [500, 200] * 11
    audio = [noise(length, seed=row) for row, length in enumerate(lengths)]
    encoder = Counting()
    frames = Clips(audio, RATE).embeddings(info(), encoder).frames
    assert encoder.batches == [(CPU_BATCH, 200), (3, 200), (CPU_BATCH, 500), (3, 500)]
    for clip, embedded in zip(audio, frames, strict=True):
        assert torch.equal(embedded, Counting().encode_audio(clip[None])[0])


@pytest.mark.parametrize("shape", [(4, 800), (4, 1, 800), (4, 2, 800)])
def test_every_layout_of_audio(shape: tuple[int, ...]) -> None:
    audio = noise(*shape)
    clips = Clips(audio, RATE)
    assert len(clips) == 4
    assert clips.audio[0].shape == (1 if len(shape) == 2 else shape[1], 800)
    expected = audio if len(shape) == 2 else audio.mean(1)
    assert torch.equal(
        torch.stack(list(clips.embeddings(info(), Counting()).frames))[..., 0], expected.unfold(1, 100, 100).mean(-1)
    )


def test_mono_and_stereo_clips_mix_and_are_resampled() -> None:
    clips, encoder = Clips([noise(800), noise(2, 800)], 2 * RATE), Counting()
    assert [len(frames) for frames in clips.embeddings(info(), encoder).frames] == [4, 4]
    assert encoder.batches == [(1, 400), (1, 400)]


def test_select_keeps_what_was_computed() -> None:
    clips, encoder = Clips(noise(4, 400), RATE, prompts=list("abcd"), names=list("wxyz")), Counting()
    whole = clips.embeddings(info(), encoder, with_prompts=True)
    part = clips.select(torch.tensor([2, 0]))
    embedded = part.embeddings(info(), encoder, with_prompts=True)
    assert (len(encoder.batches), len(encoder.texts)) == (1, 4)
    assert (part.prompts, part.names, part.sample_rate) == (("c", "a"), ("y", "w"), RATE)
    assert torch.equal(embedded.frames[0], whole.frames[2])
    assert torch.equal(part.audio[1], clips.audio[0])


def test_concatenate_keeps_only_what_all_sets_know() -> None:
    old, new, encoder = Clips(noise(2, 400), RATE), Clips(noise(1, 300, seed=1), RATE), Counting()
    old.embeddings(info(), encoder)
    old.embeddings(info("old only"), encoder)
    new.embeddings(info(), encoder)
    both = Clips.concatenate([old, new])
    assert set(both.known.frames) == {"counting"}
    passes = len(encoder.batches)
    assert [len(frames) for frames in both.embeddings(info(), encoder).frames] == [4, 4, 3]
    assert len(encoder.batches) == passes
    both.embeddings(info("old only"), encoder)
    assert len(encoder.batches) == passes + 2


def test_concatenate_keeps_prompts_and_their_embeddings() -> None:
    sets, encoder = [Clips(noise(1, 400), RATE, prompts=[text]) for text in ("a", "bb")], Counting()
    for clips in sets:
        clips.embeddings(info(), encoder, with_prompts=True)
    both = Clips.concatenate(sets)
    assert both.prompts == ("a", "bb")
    prompts = both.embeddings(info(), encoder, with_prompts=True).prompts
    assert prompts is not None
    assert prompts[:, 0].tolist() == [1.0, 2.0]
    assert len(encoder.texts) == 2


def test_concatenate_refuses_unlike_sets() -> None:
    plain, prompted = Clips(noise(1, 400), RATE), Clips(noise(1, 400), RATE, prompts=["a"])
    with pytest.raises(AudioError, match="one sample rate"):
        Clips.concatenate([plain, Clips(noise(1, 400), 2 * RATE)])
    with pytest.raises(AudioError, match="some have none"):
        Clips.concatenate([plain, prompted])
    with pytest.raises(DragonError, match="no sets"):
        Clips.concatenate([])


def test_gradients_reach_the_audio_and_only_then_are_kept() -> None:
    audio = noise(2, 400).requires_grad_()
    frames = torch.stack(list(Clips(audio, RATE).embeddings(info(), Counting()).frames))
    (gradient,) = torch.autograd.grad(frames.sum(), audio)
    assert gradient.abs().sum() > 0
    assert not Clips(audio.detach(), RATE).embeddings(info(), Counting()).frames[0].requires_grad


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        ([], "at least one clip"),
        ([noise(100), torch.zeros(100)], "'clip 1' is silent"),
        ([noise(100), torch.stack([noise(100), -noise(100)])], "'clip 1' is silent"),
        ([noise(100), torch.full((100,), float("nan"))], "'clip 1' holds values that are not finite"),
        ([noise(100), torch.zeros(0)], "'clip 1' holds no samples"),
        ([noise(100), torch.ones(100, dtype=torch.int16)], r"'clip 1' is torch.int16 \(100,\)"),
        (noise(2, 2, 2, 100), "'clip 0' is torch.float32"),
    ],
)
def test_clips_that_cannot_be_judged_are_refused(audio: Tensor | list[Tensor], reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        Clips(audio, RATE)


def test_counts_and_rates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(AudioError, match="1 prompt for 2 clips"):
        Clips(noise(2, 100), RATE, prompts=["a"])
    with pytest.raises(AudioError, match="3 names for 2 clips"):
        Clips(noise(2, 100), RATE, names=list("abc"))
    with pytest.raises(MissingPromptsError, match="'ab'"):
        Clips(noise(2, 100), RATE, prompts="ab")
    for rate in (0, -1, 44_100.0):
        with pytest.raises(AudioError, match="positive whole number"):
            Clips(noise(2, 100), rate)  # type: ignore[arg-type]


def test_prompts_that_are_missing_are_asked_for() -> None:
    with pytest.raises(MissingPromptsError, match="one prompt per clip"):
        Clips(noise(1, 400), RATE).embeddings(info(), Counting(), with_prompts=True)
    clips = Clips(noise(1, 400), RATE, prompts=["a"])
    with pytest.raises(EncoderError, match="'counting' has no text tower"):
        clips.embeddings(info(), AudioOnly(torch.zeros(1, 3, 2)), with_prompts=True)


def test_a_clip_shorter_than_one_frame_is_refused_before_longer_ones_are_encoded() -> None:
    encoder = Counting()
    with pytest.raises(
        AudioError, match=r"'b' \(99 samples at 8000 Hz\) is shorter than one frame of encoder 'counting'"
    ):
        Clips([noise(400), noise(99)], RATE, names=["a", "b"]).embeddings(info(), encoder)
    assert encoder.batches == [(1, 99)]


class Raising:
    identity = "raising"

    def encode_audio(self, audio: Tensor) -> Tensor:
        raise RuntimeError(f"kernel larger than {audio.shape[1]}")


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        (AudioOnly(torch.zeros(1, 3, 5)), r"instead of torch.float32 \(2, 3, 2\)"),
        (AudioOnly(torch.zeros(1, 2)), r"torch.float32 \(2, 2\) for 'clip 0'"),
        (AudioOnly(torch.zeros(1, 3, 2).double()), "torch.float64"),
        (AudioOnly(torch.full((1, 3, 2), float("inf"))), "not finite for 'clip 0'"),
        (Raising(), "failed on 'clip 0' .* kernel larger than 400"),
    ],
)
def test_an_encoder_that_breaks_its_contract_is_named(encoder: Encoder, reason: str) -> None:
    with pytest.raises(EncoderError, match=f"'counting'.*{reason}"):
        Clips(noise(2, 400), RATE).embeddings(info(), encoder)


def test_an_encoder_that_returns_no_tensor_is_named() -> None:
    class Listing:
        identity = "listing"

        def encode_audio(self, audio: Tensor) -> Tensor:
            return audio.tolist()  # type: ignore[return-value]

    with pytest.raises(DragonError, match="returned list"):
        Clips(noise(1, 400), RATE).embeddings(info(), Listing())
