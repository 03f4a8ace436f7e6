"""The comparison of what the engines of a bundle give with what they must give (`references`)."""
