"""The shipped exemplar sets, installed as dragon_rewards.exemplar_sets: data only."""
