"""Write dragon_train/music_prompts.txt: what pipelines of any music are tuned on where the user names no prompts.

python reports/prompts/build_music.py

Every genre meets every mood once, with instruments and a tempo that go round, so that any stretch of the list is
balanced in each; the order is drawn with seed 0.
"""

from __future__ import annotations

import random
from itertools import product
from pathlib import Path

OUT = Path(__file__).parents[2] / "dragon_train" / "music_prompts.txt"
GENRES = {
    "ambient": ["soft synth pads", "processed guitar", "bowed vibraphone"],
    "bluegrass": ["banjo and fiddle", "mandolin and upright bass", "dobro guitar"],
    "blues": ["slide guitar", "harmonica and shuffle drums", "electric piano"],
    "bossa nova": ["nylon guitar", "flute and brushed drums", "soft piano"],
    "chamber music": ["string quartet", "clarinet and piano", "solo cello"],
    "choral music": ["mixed choir", "women's choir and organ", "solo voices"],
    "country": ["acoustic guitar and pedal steel", "fiddle and snare brushes", "piano and bass"],
    "disco": ["slap bass and strings", "funky guitar", "four-on-the-floor drums"],
    "drum and bass": ["fast breakbeat and deep bass", "rolling drums and pads", "chopped samples"],
    "dub reggae": ["deep bass and echoing snare", "offbeat organ", "melodica"],
    "film score": ["full orchestra", "low brass and strings", "piano and strings"],
    "folk": ["acoustic guitar", "accordion and fiddle", "tin whistle and bodhran"],
    "funk": ["clavinet and slap bass", "horn section", "wah guitar and tight drums"],
    "gospel": ["organ and choir", "piano and hand claps", "bass, drums and organ"],
    "hip hop": ["boom bap drums and sampled piano", "deep 808 bass", "jazzy samples"],
    "house": ["piano stabs and a steady kick", "deep bass and pads", "organ bass"],
    "jazz": ["piano trio", "saxophone quartet", "muted trumpet and double bass"],
    "lo-fi": ["dusty electric piano and slow drums", "mellow guitar loop", "vinyl crackle and soft keys"],
    "metal": ["distorted guitars and double kick drums", "palm-muted riffs", "twin lead guitars"],
    "minimal music": ["marimbas", "two pianos", "repeating strings"],
    "post-rock": ["delayed guitars and building drums", "glockenspiel and strings", "tremolo guitars"],
    "rock": ["overdriven guitar, bass and drums", "organ and guitar", "acoustic guitars and drums"],
    "soul": ["electric piano and warm bass", "horns and strings", "guitar and organ"],
    "synthwave": ["analogue synth arpeggios and gated drums", "retro lead synth", "pulsing bass"],
    "tango": ["bandoneon and violin", "piano and double bass", "nylon guitar"],
    "techno": ["pounding kick and acid bass", "metallic percussion", "hypnotic synth loop"],
}
MOODS = ["calm", "cheerful", "dark", "dreamy", "energetic", "hopeful", "intimate", "melancholic", "playful", "tense",
         "triumphant", "warm"]  # fmt: skip
TEMPI = ["slow", "mid-tempo", "fast"]


def main() -> None:
    """Write the list."""
    lines = []
    for number, (genre, mood) in enumerate(product(GENRES, MOODS)):
        instruments = GENRES[genre][number % 3]
        tempo = TEMPI[number // 3 % 3]
        article = "an" if mood[0] in "aeiou" else "a"
        lines.append(f"{article} {mood}, {tempo} {genre} piece with {instruments}")
    random.Random(0).shuffle(lines)
    OUT.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
