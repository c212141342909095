"""What can be asked for: the catalog, its names, and the options of each family. No torch here, but in `types`."""
