"""Acts on what the rules decide: supervisor, actors, prober, bus."""
