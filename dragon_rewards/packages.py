"""The packages of this project that bring further encoders, so that an error can say what to install."""

from __future__ import annotations

LAYERS = range(1, 13)
BROUGHT = {
    "dragon-reward-audiobox": ("audiobox",),
    "dragon-reward-clap": ("clap-music", "clap-htsat"),
    "dragon-reward-encodec": ("encodec", "encodec-48khz"),
    "dragon-reward-images": ("inception", "dinov2", "siglip2"),
    "dragon-reward-laion-clap": ("laion-clap",),
    "dragon-reward-mert": ("mert", *(f"mert-{layer}" for layer in LAYERS)),
    "dragon-reward-musicnn": ("musicnn", "musicnn-msd", "musicnn-tags"),
    "dragon-reward-tunejury": ("tunejury",),
    "dragon-reward-vggish": ("vggish",),
}


def to_install(encoder: str) -> str | None:
    """Return the command that installs an encoder from a clone of this project; None if none of its packages has it.

    >>> to_install("vggish"), to_install("clap")
    ('pip install ./plugins/dragon-reward-vggish', None)
    """
    return next((f"pip install ./plugins/{package}" for package, names in BROUGHT.items() if encoder in names), None)
