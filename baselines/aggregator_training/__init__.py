"""Training the aggregator's language model on captions and questions: LoRA with the engine of pre-training."""
