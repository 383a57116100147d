"""Compare runs item by item on the same items: differences, their intervals and tests, and conclusions in words."""
