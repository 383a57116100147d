"""Caption metrics with per-item statistics: BLEU, ROUGE-L, CIDEr-D, and METEOR by its original jar."""
