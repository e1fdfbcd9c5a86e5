"""What every plugin promises."""

from __future__ import annotations

from dragon_rewards.testing import conformance

test_conformance = conformance("dragon-reward-tunejury")
