"""Benchmarks: one command each, figures as ratios inside one run. See bench/README.md."""
