"""`longvid bench …`: ours beside its peers, in turn, on a machine that is named."""
