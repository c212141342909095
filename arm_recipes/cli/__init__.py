"""The command `arm-recipes`, a module each: parsing and printing. Everything else is a call of the library."""
