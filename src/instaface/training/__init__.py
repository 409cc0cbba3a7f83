"""Dataset, pairs, stages, losses, loop, personalisation."""
