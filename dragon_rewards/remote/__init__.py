"""Encoders that run in another environment or on another machine, and look like any other here.

`dragon serve` offers the encoders of one environment (`server`); `dragon remote add` keeps what a server says of its
encoders (`config`), which `plugin` registers without a connection; `client` connects when an encoder is built.
"""
