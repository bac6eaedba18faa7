"""The protocol between the services of the mesh."""
