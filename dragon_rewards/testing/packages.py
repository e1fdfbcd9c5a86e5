"""The checks of what a package as a whole promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from dragon_rewards.testing.require import require

if TYPE_CHECKING:
    from dragon_rewards.registry import Registry

HEAVY = (
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "transformers",
    "diffusers",
    "librosa",
    "tensorflow",
    "jax",
    "onnxruntime",
)
LISTING = f"""
import json, sys
before = set(sys.modules)
from {{module}} import {{loader}}
registry = {{loader}}()
heavy = sorted(set({HEAVY!r}) & set(sys.modules) - before)
print(json.dumps([heavy, [plugin.package for plugin in registry.plugins]]))
"""


def prepare(package: str, registry: Registry) -> str:  # noqa: ARG001  other families need it
    """Return the package's name, which is all that its checks need."""
    return package


def registering_builds_nothing(package: str) -> None:
    """Check that a new process that loads only this package beside the built-in parts imports nothing heavy."""
    require_light(package, "dragon_rewards", "load_registry")


def require_light(package: str, module: str, loader: str) -> None:
    """Require that a registry loads in a new process with this package, and that nothing heavy is imported.

    Args:
        package: the distribution's name.
        module: the module that has the function which loads the registry.
        loader: the name of that function.
    """
    environment = os.environ | {
        "DRAGON_REWARDS_PLUGINS": package,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-c", LISTING.format(module=module, loader=loader)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    require(done.returncode == 0, "a package that loads", done.stderr, "see the traceback above")
    heavy, packages = json.loads(done.stdout)
    require(package in packages, "a package that loads in a new process, too", f"only {packages}", "install it")
    require(
        not heavy,
        "registering builds nothing, so that `dragon list` stays fast",
        f"registering imports {', '.join(heavy)}",
        "import heavy libraries inside the factory, or in a module that only the factory imports",
    )
