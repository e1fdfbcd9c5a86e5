"""The tags that musicnn knows, which of them a prompt names, and the reduction `tag-agreement` that compares both."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards import Embeddings

# The order of the outputs: the fifty most frequent tags of MagnaTagATune, and of the Million Song Dataset (Last.fm).
MTT_TAGS = (  # noqa: SIM905  fifty literals would take fifty lines
    "guitar,classical,slow,techno,strings,drums,electronic,rock,fast,piano,ambient,beat,violin,vocal,synth,female,"
    "indian,opera,male,singing,vocals,no vocals,harpsichord,loud,quiet,flute,woman,male vocal,no vocal,pop,soft,"
    "sitar,solo,man,classic,choir,voice,new age,dance,male voice,female vocal,beats,harp,cello,no voice,weird,"
    "country,metal,female voice,choral"
).split(",")
MSD_TAGS = (  # noqa: SIM905  fifty literals would take fifty lines
    "rock,pop,alternative,indie,electronic,female vocalists,dance,00s,alternative rock,jazz,beautiful,metal,"
    "chillout,male vocalists,classic rock,soul,indie rock,Mellow,electronica,80s,folk,90s,chill,instrumental,punk,"
    "oldies,blues,hard rock,ambient,acoustic,experimental,female vocalist,guitar,Hip-Hop,70s,party,country,"
    "easy listening,sexy,catchy,funk,electro,heavy metal,Progressive rock,60s,rnb,indie pop,sad,House,happy"
).split(",")

# The tags of MTT_TAGS that exclude each other more or less, which a tag of the same kind is compared with. "strings" is
# left out, as it is true of violin and cello, and "classic", as it is used like "classical".
KINDS = {
    "instrument": ("guitar", "drums", "piano", "violin", "synth", "harpsichord", "flute", "sitar", "harp", "cello"),
    "style": (
        *("classical", "techno", "electronic", "rock", "ambient", "indian", "opera", "pop", "new age", "dance"),
        *("country", "metal"),
    ),
    "tempo": ("slow", "fast"),
}
# What names a tag in a prompt, beside the tag itself: plurals, spellings, other names, and what is always of the kind.
SYNONYMS = {
    "guitar": ("guitars", "guitarist"),
    "drums": ("drum", "drummer", "percussion"),
    "piano": ("pianos", "grand piano", "pianist"),
    "violin": ("violins", "fiddle", "fiddles", "violinist", "fiddler"),
    "synth": ("synths", "synthesizer", "synthesizers", "synthesiser", "synthesisers"),
    "harpsichord": ("harpsichords", "cembalo"),
    "flute": ("flutes", "flutist", "flautist"),
    "sitar": ("sitars",),
    "harp": ("harps", "harpist"),
    "cello": ("cellos", "violoncello", "cellist"),
    "strings": ("string quartet", "string orchestra", "string section", "string ensemble"),
    "classical": ("baroque", "symphonic", "symphony"),
    "electronic": ("electronica", "edm"),
    "rock": ("rock and roll", "rock'n'roll"),
    "indian": ("raga", "hindustani", "carnatic"),
    "opera": ("operatic", "aria"),
    "dance": ("dance music",),
    "country": ("country music", "bluegrass"),
    "metal": ("heavy metal",),
    "slow": ("slowly", "unhurried", "adagio", "largo", "lento"),
    "fast": ("quick", "quickly", "rapid", "brisk", "allegro", "presto"),
}
KIND_OF = {tag: kind for kind, tags in KINDS.items() for tag in tags} | {"strings": "instrument"}


@cache
def _words() -> dict[str, str]:
    """Return the tag that each word or phrase names, the longest first; "harpsichord" is no harp."""
    words = {tag: tag for tag in KIND_OF} | {word: tag for tag, said in SYNONYMS.items() for word in said}
    return {word: words[word] for word in sorted(words, key=len, reverse=True)}


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(map(re.escape, _words())) + r")\b")


def named_tags(prompt: str) -> frozenset[str]:
    """Return the tags of instruments, styles and tempi that a prompt names; negations are not understood.

    >>> sorted(named_tags("a slow air for fiddle and harpsichord")), sorted(named_tags("a jig on the accordion"))
    (['harpsichord', 'slow', 'violin'], [])
    """
    text = " ".join(prompt.lower().split())
    return frozenset(_words()[found] for found in _pattern().findall(text))


def tag_vectors(prompts: Sequence[str]) -> list[list[float]]:
    """Return for each prompt 50 values in the order of `MTT_TAGS`: 1 where it names the tag, else 0."""
    return [[float(tag in named) for tag in MTT_TAGS] for named in map(named_tags, prompts)]


class TagAgreement:
    """How much more probable the tags that a prompt names are in its clip than the other tags of their kind, in nats.

    With p_t, the probability of tag t as a mean over the clip's patches, K the tags of a kind and N the tags of the
    kind that the prompt names, the value is the mean, over the kinds of which the prompt names a tag, of

        mean_{t in N} ln p_t - ln mean_{t in K} p_t

    It is 0 where the named tags are as probable as the tags of their kind are on average. Its upper bound is ln 10 for
    instruments ("strings", which are not in K, have none), ln 12 for styles and ln 2 for tempi. A prompt that names no
    tag says nothing about its clip: the sum is empty, and the value 0.
    """

    def __call__(self, clips: Embeddings, reference: None) -> Tensor:  # noqa: ARG002  part of the protocol
        """Return the agreement of each clip with its prompt, (clips,).

        Args:
            clips: log-odds of tags as frames, and `tag_vectors` as prompts, which `musicnn-tags` makes.
            reference: none.
        """
        import torch

        if clips.prompts is None:
            raise ValueError("called without the prompts that its descriptor declares")
        probabilities = torch.stack([_log_means(frames) for frames in clips.frames])
        total = count = probabilities.new_zeros(len(probabilities))
        for kind, tags in KINDS.items():
            named = clips.prompts * probabilities.new_tensor([KIND_OF.get(tag) == kind for tag in MTT_TAGS])
            present = named.any(1).to(named)
            own = (named * probabilities).sum(1) / named.sum(1).clamp_min(1)
            among = probabilities[:, [MTT_TAGS.index(tag) for tag in tags]]
            total = total + present * (own - among.logsumexp(1) + among.new_tensor(len(tags)).log())
            count = count + present
        return total / count.clamp_min(1)


def _log_means(logits: Tensor) -> Tensor:
    """Return the logarithm of the mean over frames of the probabilities that log-odds (frames, tags) stand for."""
    import torch

    frames = logits.new_tensor(len(logits))
    return torch.nn.functional.logsigmoid(logits).logsumexp(0) - frames.log()
