"""Turn videos into tokens, vectors and captions."""
