"""What people import: the client, the command, the embedded mesh and the generated protocol."""
