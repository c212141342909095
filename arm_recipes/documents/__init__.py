"""How results are described and shown: blocks, and their text, Markdown and HTML. No torch here."""
