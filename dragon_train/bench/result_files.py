"""The names of the files that a benchmark writes and a report reads."""

SETTINGS = "benchmark.json"  # of the whole benchmark
SCORES, CONFOUNDERS = "scores.parquet", "confounders.parquet"  # of each model; the benchmark has scores too
JUDGEMENTS = "judgements.parquet"  # of each model, by rewards that nothing is tuned toward
FIGURES = "collateral.json"  # of each model, beside its scores
EMBEDDINGS, TEST = "embeddings.safetensors", "permutation.json"  # of each model; its permutation test
WIN_RATES, CROSS_EFFECTS, HELD_OUT, CONTROLLED = "win_rates", "cross_effects", "held_out", "confounders"  # tables
CEILINGS, COLLATERAL, HEADLINE, FACETS = "ceilings", "collateral", "headline", "facets"  # tables, too
SEEDS = "seeds"  # table over benchmarks of several seeds
REAL, REAL_MUSIC = "real", "real_music.csv"  # folder of what was measured of real clips, and the file in it
