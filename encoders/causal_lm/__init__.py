"""Causal language models from transformers: found, read strictly, and handed on as they are."""
