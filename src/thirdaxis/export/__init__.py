"""Converted networks as plain graphs: for servers and programs that have no thirdaxis."""
