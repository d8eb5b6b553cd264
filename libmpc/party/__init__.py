"""One compute party: models, epochs, bundles, runs and replies, without a network of its own."""
