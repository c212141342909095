"""`sweep` and `retarget`: one lowering, and every configuration of the NPU."""
