"""One module per figure group: ``Config``, ``PROFILES``, ``run(config) -> Dataset`` and ``claims(dataset)``."""
