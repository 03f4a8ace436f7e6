"""Where records go: the screen, files, webhooks, brokers, pictures and metrics."""
