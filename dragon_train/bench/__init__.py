"""The comparison of models: the benchmark, ablations, permutation tests, launchers and the report page."""
