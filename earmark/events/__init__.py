"""The protocol of the stored events."""
