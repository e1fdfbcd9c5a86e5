"""Plugins of this project: how they are found, loaded one at a time, and recorded with the package they came in."""

from dragon_rewards.plugins.loading import LOAD_SECONDS, load_plugins
from dragon_rewards.plugins.records import Descriptor, Loaded, PluginFailure, PluginGroup, PluginRecord, Stage

__all__ = [
    "LOAD_SECONDS",
    "Descriptor",
    "Loaded",
    "PluginFailure",
    "PluginGroup",
    "PluginRecord",
    "Stage",
    "load_plugins",
]
