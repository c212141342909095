"""What the installed tools know, run and print, and every trick that this takes. No torch here."""
