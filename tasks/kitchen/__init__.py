"""The built-in benchmark `kitchen` (our own): a seeded world of long cooking videos with questions about them.

`world` (vocabulary and parameters) → `plan` (what happens when) → `texts`, `claims`, `questions` (what is true of it)
and `render` (what it looks like) → `benchmark` (the tasks) and `files` (the split on disk).
"""
