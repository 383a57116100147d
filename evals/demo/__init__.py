"""`longvid demo`: a plan of runs, carried out two at a time, and the leaderboard that comes of it."""
