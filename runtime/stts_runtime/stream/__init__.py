"""Live video: windows of bounded cost, the novelty gate, many streams on one engine."""
