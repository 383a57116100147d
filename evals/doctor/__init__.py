"""Check what this machine can run. No check waits for long, and the checks are independent of each other."""
