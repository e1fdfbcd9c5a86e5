"""What each pipeline of diffusers takes beside the prompt: its own names, by the columns of a table of prompts.

`dragon_train.prompt_table` reads the columns. Adapters refer to these, and so do their descriptors, which import no
torch.
"""

from __future__ import annotations

ACE_STEP = {
    "lyrics": "lyrics",
    "duration": "audio_duration",
    "bpm": "bpm",
    "key": "keyscale",
    "time_signature": "timesignature",
    "language": "vocal_language",
}
STABLE_AUDIO = {"duration": "audio_end_in_s", "negative_prompt": "negative_prompt"}
STABLE_AUDIO_3 = {"duration": "duration", "negative_prompt": "negative_prompt"}
LONGCAT_AUDIO = {"duration": "audio_duration_s", "negative_prompt": "negative_prompt"}
SPECTROGRAM = {"duration": "audio_length_in_s", "negative_prompt": "negative_prompt"}
