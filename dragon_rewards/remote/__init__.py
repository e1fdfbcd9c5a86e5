"""Encoders that run in another environment or on another machine, and are used here like any other.

`dragon serve` offers the encoders of one environment (`server`). `dragon remote add` stores what a server says of its
encoders (`config`). `plugin` registers these without a connection, and `client` connects when an encoder is built.
"""
