"""Whether a lowered program computes what its model does, layer by layer, from the simulator's own values."""
