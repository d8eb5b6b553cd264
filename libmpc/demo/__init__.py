"""``libmpc demo``: a deployment on this machine, real digits, and what each party saw of them."""

from libmpc.demo.run import run

__all__ = ["run"]
