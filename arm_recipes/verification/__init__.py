"""`verify`: a lowered program on a reference simulator, held against its model."""
