"""Real streams that are broken on purpose, to see what a live source makes of it: `scripts/fault_lab`."""
