"""Training: one `fit` for every model, its state, checkpoints, metrics and data parallelism."""
