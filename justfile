# What a contributor runs. `just` lists it; every command is also in CONTRIBUTING.md.

set shell := ["bash", "-euo", "pipefail", "-c"]

bin := ".venv/bin"
code := "dragon_rewards dragon_train tests reports plugins docs"

# List the recipes.
default:
    @just --list --unsorted

# Make .venv with the tested versions; the packages are installed where they lie.
install:
    python3 -m venv .venv
    {{ bin }}/pip install -c constraints.txt -e ".[test]"

# Run the fast lane.
fast *arguments:
    {{ bin }}/pytest -n 2 -m "not slow" {{ arguments }}

# Run every test.
test *arguments:
    {{ bin }}/pytest {{ arguments }}

# Check style, format and the directions of imports.
style:
    {{ bin }}/ruff check {{ code }}
    {{ bin }}/ruff format --check {{ code }}
    {{ bin }}/lint-imports

# Check types.
types:
    {{ bin }}/mypy plugins/*/*.py dragon_rewards dragon_train tests reports docs

# Write the README's generated blocks and picture afresh, and build the site into site/.
docs:
    {{ bin }}/python docs/scripts/win_rates_figure.py
    {{ bin }}/python docs/scripts/generated.py
    {{ bin }}/mkdocs build --strict

# Build the wheels of the core and of every plugin into dist/, and check them.
wheels:
    PYTHONPATH=tests {{ bin }}/python -m support.wheels dist
    {{ bin }}/twine check --strict dist/*

# Resolve the declared lower bounds and the newest releases, and run the fast lane with each.
bounds *resolutions:
    {{ bin }}/python tests/support/bounds.py {{ resolutions }}
