"""The sample API: the server and the data of the demo and of the tests.

It imports no other package: the pipeline calls it over HTTP.
"""
