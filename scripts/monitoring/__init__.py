"""What is known about the data and told to people: status, health, metrics, the health page, alerts.

Reads everything below, changes nothing but its own pages.
"""
