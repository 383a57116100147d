"""How others answer: the LLM aggregator and its parts, blind, constant and chance models."""
