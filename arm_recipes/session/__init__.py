"""The front door: `export` over the standard ExportSession, what it takes and what it writes."""
