"""How a video becomes tokens, a vector, a caption."""
