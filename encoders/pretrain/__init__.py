"""Pre-training: the stages of the recipe, from data to weights."""
