"""Every audio pipeline class of diffusers, tiny and random: real classes, real tokenizers, a second or so of sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
import pytest
import torch
import transformers
from diffusers.pipelines import ace_step, audioldm2, stable_audio, stable_audio_3
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dragon_train.masked.codebook import ProductCodebook
from dragon_train.masked.pipeline import MaskedAudioPipeline
from dragon_train.masked.scheduler import MaskedScheduler
from dragon_train.masked.transformer import MaskedAudioTransformer
from dragon_train.pipelines.recorded import AudioPolicy
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from diffusers import DiffusionPipeline

WIDTH = 16
LETTERS = [chr(code) for code in range(32, 127)] + ["\n"]
SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}


def letters_tokenizer(length: int = 24) -> PreTrainedTokenizerFast:
    """A token per letter."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL.values(), *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL.values()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, **SPECIAL)


def roberta_tokenizer() -> transformers.RobertaTokenizer:
    """Bytes, without merges."""
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(specials + alphabet)}
    return transformers.RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=32)


def t5_tokenizer() -> transformers.T5Tokenizer:
    """A piece per letter."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS[1:])]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=32)


def gemma_tokenizer() -> transformers.GemmaTokenizer:
    """A token per letter."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return transformers.GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=32)


def t5_settings() -> dict[str, Any]:
    """A T5 encoder of one layer."""
    return {"vocab_size": 128, "d_model": WIDTH, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}


def oobleck(rate: int, channels: int = 2) -> diffusers.AutoencoderOobleck:
    """64 samples a latent."""
    return diffusers.AutoencoderOobleck(
        encoder_hidden_size=4,
        downsampling_ratios=[4, 16],
        channel_multiples=[1, 2],
        decoder_channels=4,
        decoder_input_channels=4,
        audio_channels=channels,
        sampling_rate=rate,
    )


def stable_audio_pipeline() -> DiffusionPipeline:
    """StableAudioPipeline: 1.024 s of 4 kHz stereo."""
    projection = stable_audio.StableAudioProjectionModel(
        text_encoder_dim=WIDTH, conditioning_dim=WIDTH, min_value=0, max_value=8
    )
    return diffusers.StableAudioPipeline(
        vae=oobleck(4000),
        text_encoder=transformers.T5EncoderModel(transformers.T5Config(**t5_settings())),
        projection_model=projection,
        tokenizer=letters_tokenizer(),
        transformer=diffusers.StableAudioDiTModel(
            sample_size=64,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            num_key_value_attention_heads=2,
            cross_attention_dim=WIDTH,
            cross_attention_input_dim=WIDTH,
            time_proj_dim=8,
            global_states_input_dim=2 * WIDTH,
        ),
        scheduler=diffusers.EDMDPMSolverMultistepScheduler(
            sigma_data=1.0, sigma_min=0.3, sigma_max=100.0, prediction_type="v_prediction", solver_order=2
        ),
    )


def masked_audio_pipeline() -> DiffusionPipeline:
    """MaskedAudioPipeline: tokens of eight values for two pairs of channels, 1.024 s of 4 kHz stereo."""
    parts = stable_audio_pipeline().components
    codebook = ProductCodebook(channels=4, groups=2, vocabulary=8)
    codebook.rotation.copy_(torch.linalg.qr(torch.randn(4, 4))[0])
    settings = {name: value for name, value in parts["transformer"].config.items() if not name.startswith("_")}
    del settings["out_channels"]
    transformer = MaskedAudioTransformer(groups=2, vocabulary=8, **settings)
    torch.nn.init.normal_(transformer.head.weight, std=10)  # so that prompts decide which tokens are drawn
    own = {"transformer": transformer, "scheduler": MaskedScheduler(), "codebook": codebook}
    return MaskedAudioPipeline(**{**parts, **own})


def stable_audio_3_pipeline(*, distilled: bool = False) -> DiffusionPipeline:
    """StableAudio3Pipeline: 4 kHz stereo, 64 samples a latent; distilled ones sample stochastically."""
    layer = {
        "vocab_size": 128,
        "hidden_size": WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "layer_types": ["full_attention"],
    }
    settings = transformers.T5GemmaConfig(encoder=layer, decoder=layer, is_encoder_decoder=False, vocab_size=128)
    vae = diffusers.AutoencoderSAME(
        audio_channels=2,
        patch_size=16,
        encoder_channels=8,
        encoder_c_mults=(2,),
        encoder_strides=(4,),
        encoder_transformer_depths=(1,),
        latent_dim=4,
        dim_heads=8,
        sampling_rate=4000,
    )
    for name, weight in vae.named_parameters():  # half of it starts at zero, and would decode to silence
        torch.nn.init.normal_(weight, std=0.2) if name.endswith("weight") and not weight.any() else None
    return diffusers.StableAudio3Pipeline(
        vae=vae,
        text_encoder=transformers.T5GemmaEncoderModel(settings),
        tokenizer=gemma_tokenizer(),
        duration_embedder=stable_audio_3.StableAudio3DurationEmbedder(output_dim=WIDTH, fourier_dim=8),
        transformer=diffusers.StableAudio3DiTModel(
            io_channels=4,
            embed_dim=WIDTH,
            depth=1,
            num_heads=2,
            cond_token_dim=WIDTH,
            global_cond_dim=WIDTH,
            local_add_cond_dim=5,
            timestep_features_dim=8,
            num_memory_tokens=2,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, stochastic_sampling=distilled),
    )


def ace_step_pipeline(*, turbo: bool = False) -> DiffusionPipeline:
    """AceStepPipeline: 1.6 kHz stereo, 64 samples a latent."""
    width: dict[str, Any] = {"hidden_size": WIDTH, "intermediate_size": 16, "head_dim": 8}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 1}
    text = transformers.Qwen3Config(
        vocab_size=128, num_hidden_layers=1, max_position_embeddings=512, **width, **heads, tie_word_embeddings=True
    )
    encoder = ace_step.AceStepConditionEncoder(
        text_hidden_dim=WIDTH,
        timbre_hidden_dim=4,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
        **width,
        **heads,
    )
    torch.nn.init.normal_(encoder.silence_latent)
    return diffusers.AceStepPipeline(
        vae=oobleck(1600),
        text_encoder=transformers.Qwen3Model(text),
        tokenizer=letters_tokenizer(512),
        transformer=diffusers.AceStepTransformer1DModel(
            num_hidden_layers=2,
            in_channels=12,
            audio_acoustic_hidden_dim=4,
            sliding_window=8,
            is_turbo=turbo,
            **width,
            **heads,
        ),
        condition_encoder=encoder,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )


def longcat_pipeline() -> DiffusionPipeline:
    """LongCatAudioDiTPipeline: 2 kHz mono, 16 samples a latent."""
    vae = diffusers.LongCatAudioDiTVae(
        channels=4,
        c_mults=[1, 2],
        strides=[4, 4],
        latent_dim=4,
        encoder_latent_dim=8,
        downsampling_ratio=16,
        sample_rate=2000,
    )
    transformer = diffusers.LongCatAudioDiTTransformer(
        dit_dim=WIDTH, dit_depth=2, dit_heads=2, dit_text_dim=WIDTH, latent_dim=4
    )
    for weight in transformer.parameters():  # zeros at first: it would answer zero, whatever it is asked
        torch.nn.init.normal_(weight, std=0.2) if not weight.any() else None
    return diffusers.LongCatAudioDiTPipeline(
        vae=vae,
        text_encoder=transformers.UMT5EncoderModel(transformers.UMT5Config(**t5_settings())),
        tokenizer=letters_tokenizer(),
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0, invert_sigmas=True),
    )


def spectrogram_parts(levels: int = 2) -> dict[str, Any]:
    """What the AudioLDM family shares: an autoencoder of mel spectra and a vocoder, 4 kHz, 16 samples a frame."""
    return {
        "vae": diffusers.AutoencoderKL(
            in_channels=1,
            out_channels=1,
            down_block_types=["DownEncoderBlock2D"] * levels,
            up_block_types=["UpDecoderBlock2D"] * levels,
            block_out_channels=[4, 8],
            norm_num_groups=2,
            latent_channels=4,
            scaling_factor=0.5,
        ),
        "vocoder": transformers.SpeechT5HifiGan(
            transformers.SpeechT5HifiGanConfig(
                model_in_dim=8,
                sampling_rate=4000,
                upsample_initial_channel=8,
                upsample_rates=[4, 4],
                upsample_kernel_sizes=[8, 8],
                resblock_kernel_sizes=[3],
                resblock_dilation_sizes=[[1, 3]],
                normalize_before=False,
                initializer_range=0.3,
            )
        ),
        "scheduler": diffusers.DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.0015, beta_end=0.0195, clip_sample=False, steps_offset=1
        ),
    }


def clap_settings() -> dict[str, Any]:
    """A CLAP text tower of one layer."""
    return {
        "vocab_size": 300,
        "hidden_size": WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 40,
        "projection_dim": WIDTH,
    }


def clap() -> transformers.ClapModel:
    """Both towers."""
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": (4, 4),
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "window_size": 4,
        "num_hidden_layers": 2,
    }
    return transformers.ClapModel(
        transformers.ClapConfig(text_config=clap_settings(), audio_config=audio, projection_dim=WIDTH)
    )


def unet_settings() -> dict[str, Any]:
    """Two levels, with attention in one."""
    return {
        "sample_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (4, 8),
        "norm_num_groups": 2,
        "attention_head_dim": 2,
    }


def class_conditioned_unet() -> diffusers.UNet2DConditionModel:
    """AudioLDM's and MusicLDM's: the prompt's embedding joins the time."""
    return diffusers.UNet2DConditionModel(
        **unet_settings(),
        cross_attention_dim=(4, 8),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=WIDTH,
        class_embeddings_concat=True,
    )


def audioldm2_pipeline() -> DiffusionPipeline:
    """AudioLDM2Pipeline."""
    language = transformers.GPT2Config(
        vocab_size=8, n_positions=80, n_embd=WIDTH, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    language.max_new_tokens = 4
    return diffusers.AudioLDM2Pipeline(
        text_encoder=clap(),
        text_encoder_2=transformers.T5EncoderModel(transformers.T5Config(**t5_settings())),
        projection_model=audioldm2.AudioLDM2ProjectionModel(
            text_encoder_dim=WIDTH, text_encoder_1_dim=WIDTH, langauge_model_dim=WIDTH
        ),
        language_model=transformers.GPT2LMHeadModel(language),
        tokenizer=roberta_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        feature_extractor=transformers.ClapFeatureExtractor(),
        unet=audioldm2.AudioLDM2UNet2DConditionModel(
            **unet_settings(), cross_attention_dim=((None, WIDTH, WIDTH),) * 2
        ),
        **spectrogram_parts(),
    )


def audioldm_pipeline() -> DiffusionPipeline:
    """AudioLDMPipeline."""
    return diffusers.AudioLDMPipeline(
        text_encoder=transformers.ClapTextModelWithProjection(transformers.ClapTextConfig(**clap_settings())),
        tokenizer=roberta_tokenizer(),
        unet=class_conditioned_unet(),
        **spectrogram_parts(),
    )


def musicldm_pipeline() -> DiffusionPipeline:
    """MusicLDMPipeline."""
    return diffusers.MusicLDMPipeline(
        text_encoder=clap(),
        tokenizer=roberta_tokenizer(),
        feature_extractor=transformers.ClapFeatureExtractor(),
        unet=class_conditioned_unet(),
        **spectrogram_parts(),
    )


BUILDERS: dict[str, Callable[[], DiffusionPipeline]] = {
    "stable-audio": stable_audio_pipeline,
    "stable-audio-3": stable_audio_3_pipeline,
    "ace-step": ace_step_pipeline,
    "longcat-audio": longcat_pipeline,
    "audioldm2": audioldm2_pipeline,
    "audioldm": audioldm_pipeline,
    "musicldm": musicldm_pipeline,
    "masked-audio": masked_audio_pipeline,
}


def build(name: str, seed: int = 0) -> DiffusionPipeline:
    """The tiny pipeline of an adapter's class, from a seed."""
    torch.manual_seed(seed)
    return BUILDERS[name]()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `folder_of` keeps pipelines, each saved once; a fixture that a conftest imports."""
    return tmp_path_factory.mktemp("pipelines")


def allow_old_weight_norm(items: Iterable[pytest.Item], folder: Path) -> None:
    """Let the tests in a folder build LongCat's autoencoder, which has torch's older weight norm."""
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning"))


def folder_of(name: str, saved: Path) -> Path:
    """A tiny pipeline of the adapter's class, as `save_pretrained` writes it."""
    folder = saved / name
    if not folder.exists():
        build(name).save_pretrained(folder)
    return folder


def load(name: str, saved: Path) -> Any:
    """A policy over a freshly loaded pipeline, by the path that `dragon train --pipeline FOLDER` takes."""
    policy = load_train_registry().pipeline(str(folder_of(name, saved))).factory()
    assert isinstance(policy, AudioPolicy)
    return policy
