"""What every encoder promises."""

from dragon_rewards.testing import conformance

test_conformance = conformance("dragon-reward-laion-clap")
