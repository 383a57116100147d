"""What this machine can run, looked up rather than assumed. No check waits for long, and none is needed by another."""
