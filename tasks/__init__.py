"""Benchmarks, the Task API, metrics and intervals: what is asked, and how answers are scored."""
