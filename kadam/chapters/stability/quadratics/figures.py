"""The figure of the runs on quadratics, and what it shows in sentences."""
