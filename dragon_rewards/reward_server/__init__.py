"""The part of `dragon serve` that scores clips and groups for other trainers, over HTTP.

A request is one group of clips. `formats` reads its JSON, `groups` decodes its files, `judging` scores groups that wait
together in one pass of the encoder, `desk` decides which wait together, and `app` has the routes and the bounded queue.
"""
