"""ARGV: one verb a file."""
