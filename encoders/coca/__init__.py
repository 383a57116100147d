"""CoCa as a captioner: open_clip's towers behind a decode loop of our own."""
