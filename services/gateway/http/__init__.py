"""HTTP surface of the gateway: routers that convert and delegate to the domain modules."""
