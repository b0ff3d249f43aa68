"""Prometheus metrics: what is counted on the way (tally), what is read at a scrape (picture, sections), the pages."""
