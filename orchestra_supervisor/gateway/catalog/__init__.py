"""What the servers behind the gateway offer, as one: names, filters, pins, kept results, endpoints."""
