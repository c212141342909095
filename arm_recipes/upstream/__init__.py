"""The only place that touches private names of executorch, torchao and torch."""
