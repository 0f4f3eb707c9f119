"""The sample API: the server and the data of the demo and of the tests.

Stands alone: the pipeline talks to it over HTTP.
"""
