"""The embedded benchmark `kitchen` (ours): a seeded world of long cooking videos with questions about them.

`world` (words and knobs) → `plan` (what happens when) → `texts`, `claims`, `questions` (what is true of it) and
`render` (what it looks like) → `benchmark` (the tasks) and `files` (the split on disk).
"""
