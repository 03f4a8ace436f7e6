"""A memory of what was seen: records in SQLite, found again by their words. One process writes it, any number read.

It takes records as JSON objects, and knows neither streams nor sinks.
"""
