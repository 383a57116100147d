"""Video-to-text: a frozen encoder speaks through a frozen language model (paper, recipe step 3)."""
