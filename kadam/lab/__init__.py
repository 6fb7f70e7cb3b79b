"""What experiments are made of: data, models, training, probes, profiles and records; never the theory."""

from kadam.lab.records import pack

pack.use()  # before anything is imported that only a pack may hold
