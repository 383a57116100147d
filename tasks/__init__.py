"""What is asked, and how an answer is scored: benchmarks, the Task API, metrics, intervals."""
