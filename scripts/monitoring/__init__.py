"""Reports on the data for people and programs: status, health, metrics, the health page, alerts.

It reads all layers below and writes only its own pages.
"""
