"""The figure of a search over all knobs, with the numbers that it shows."""
