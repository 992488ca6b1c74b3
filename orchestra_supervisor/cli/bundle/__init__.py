"""What `orchestra bundle` packs, and how secrets are kept out of it."""
