"""Baseline systems: the LLM aggregator, video language models, key frames, blind models and floors."""
