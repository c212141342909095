"""`report`: what is in a program, what it needs at run time, and what it should cost."""
