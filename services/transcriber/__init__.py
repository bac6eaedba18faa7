"""Turns media into timed text: cuts its audio into slices, and recognizes the speech in each."""
