"""To be removed when all branches are in."""

from .samplings import *  # noqa
from .samplings import SAMPLINGS, Ops, Dense

BY_NAME = {name: one.usual for name, one in SAMPLINGS.items()}
ops = Ops.usual
dense = Dense.usual
nops, rps, resized = BY_NAME["nops"], BY_NAME["rps"], BY_NAME["resize"]
