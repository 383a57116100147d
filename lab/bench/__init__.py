"""Benchmarks against peers, and the cost of each method of the paper. Importing this loads no torch."""
