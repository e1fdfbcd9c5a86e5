"""All that dragon-rewards asks of a plugin."""

from dragon_rewards.testing import conformance

test_conformance = conformance("dragon-reward-images")
