"""Causal language models from transformers: found, and loaded strictly."""
