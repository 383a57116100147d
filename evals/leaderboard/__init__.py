"""Set records side by side: one table per task and pool, to be published and rendered."""
