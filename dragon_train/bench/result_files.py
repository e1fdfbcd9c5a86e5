"""The names of the files that a benchmark writes and a report reads."""

SETTINGS = "benchmark.json"  # of the whole
SCORES, CONFOUNDERS = "scores.parquet", "confounders.parquet"  # of a model; the former of the whole, too
EMBEDDINGS, TEST = "embeddings.safetensors", "permutation.json"  # of a model: what is exchanged, and the test
WIN_RATES, CROSS_EFFECTS, HELD_OUT, CONTROLLED = "win_rates", "cross_effects", "held_out", "confounders"  # tables
