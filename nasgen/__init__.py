"""nasgen: neural networks to order, by two generative levels. See README.md and ARCHITECTURE.md."""

__version__ = "0.1.0"
