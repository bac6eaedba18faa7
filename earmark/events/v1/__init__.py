"""The generated event protocol, `earmark.events.v1`."""
