"""Compiles the second device once, for every process that asks for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from filelock import FileLock

SOURCE = Path(__file__).with_name("second_device.cpp")


def library() -> Path:
    """The shared library of these sources, this torch and this compiler, built if it is not kept from before.

    Raises:
        RuntimeError: there is no compiler, or it failed; with what it said.
    """
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise RuntimeError("tests on the second device are compiled with g++, which is not here: install it (g++)")
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dragon-rewards-tests"
    built = folder / f"second_device_{_key(compiler)}.so"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{built}.lock"):  # several test workers start at once
        if not built.exists():
            _compile(compiler, built)
    return built


def _key(compiler: str) -> str:
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True).stdout
    sources = [file.read_bytes() for file in sorted([SOURCE, *SOURCE.parent.glob("backend/*.h")])]
    flags = " ".join(_flags()).encode()
    return hashlib.sha256(b"\0".join([torch.__version__.encode(), version, flags, *sources])).hexdigest()[:16]


def _flags() -> list[str]:
    from torch.utils.cpp_extension import include_paths, library_paths

    return [
        *(
            "-std=c++20",
            "-O1",
            "-fPIC",
            "-shared",
            "-w",
            f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
        ),
        *(f"-I{path}" for path in include_paths()),
        *(f"-L{path}" for path in library_paths()),
        *("-lc10", "-ltorch_cpu"),
    ]


def _compile(compiler: str, built: Path) -> None:
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        made = Path(folder) / built.name
        command = [compiler, str(SOURCE), "-o", str(made), *_flags()]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the second device was not compiled:\n{' '.join(command)}\n{done.stderr[:8000]}")
        made.replace(built)  # whole, or not at all
