"""The commands of `arm-recipes`, one module each; what takes long to import is imported when a command runs."""
