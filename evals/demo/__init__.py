"""`longvid demo`: carry out a plan of runs, two at a time, and show the resulting leaderboard."""
