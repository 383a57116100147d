"""Many records side by side: one table per task and pool, as a value that is published and rendered."""
