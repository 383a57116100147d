"""Ours beside its peers, and what each method of the paper costs. Importing this loads no torch."""
