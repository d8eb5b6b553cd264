"""Checks of a deployment, step by step: what is wrong, and what to do.

findings    what a check has found
deployment  the deployment file
files       that, and the credentials beside it
network     name, port and certificate of a service
gateway     what a gateway answers, whose token it is, and how the parties are
model       one model, and a query of it
client      all of these, in order; services have checks of their own
"""
