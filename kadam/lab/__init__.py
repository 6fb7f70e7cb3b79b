"""What experiments are made of: data, models, training, probes, profiles and records; never the theory."""
