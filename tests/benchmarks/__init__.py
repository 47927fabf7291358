"""Measurements, not tests: each prints ratios of whole processes, taken in turn in one run."""
