"""Every promise of the encoder and of the reduction, checked."""

from dragon_rewards.testing import conformance

test_conformance = conformance("dragon-reward-template")
