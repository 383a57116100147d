"""Video-to-text: a frozen encoder connected to a frozen language model (paper, recipe step 3)."""
