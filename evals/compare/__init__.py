"""Runs on the same items, item by item: is there a difference, how large may it be, and what can be said of it."""
