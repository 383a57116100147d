"""Run a model on a task, keep the record, score it again, report it."""
