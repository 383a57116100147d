"""`longvid study …`: the paper's methods trained side by side. Importing this loads no torch."""
