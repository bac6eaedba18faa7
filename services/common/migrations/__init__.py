"""What MongoDB holds, by version: numbered changes, forward and back, and the record of which were made."""
