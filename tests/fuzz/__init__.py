"""Networks that nobody wrote down: made by chance, exported for every family, held to what exports promise."""
