"""JPEGs decoded by nvImageCodec, which has a GPU do it: for machines whose CPU cannot feed their GPU; off unless asked.

The pixels come back to the host, where all that follows is the same. They are not libjpeg's to the bit: scores move a
little (benchmarks/gpu/decode.py measures by how much).
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .errors import PscrError, Status, one_line
from .libraries import load
from .samplings import Pixels

_CHANNELS = (1, 3)  # grey, and colour; CMYK is the CPU's
_END = b"\xff\xd9"  # of a whole file


class JpegDecoder:
    """Decodes in any thread: each has a decoder of its own."""

    def __init__(self, gpu: int | None) -> None:
        """Load the library, and see that it works. gpu: its number; None for the library's own decoders on the CPU.

        Raises:
            PscrError: DEVICE_UNAVAILABLE.
        """
        self._codec = load("nvidia.nvimgcodec")
        self._gpu = gpu
        self._own = threading.local()
        try:
            self._decoder()
        except RuntimeError as error:
            found = f"GPU {gpu} cannot decode JPEGs ({one_line(error)}); leave jpeg='gpu' out"
            raise PscrError(Status.DEVICE_UNAVAILABLE, found) from error

    def __str__(self) -> str:
        return f"nvimgcodec {self._codec.__version__}"

    def pixels(self, data: bytes) -> Pixels | None:
        """The pixels of a JPEG, [H,W,3] uint8 RGB, as stored: not turned, and without its colour profile.

        None for what is left to the CPU's decoder: CMYK, more than 8 bits, a file that is cut short or damaged.
        """
        codec = self._codec
        if _END not in data:
            return None
        try:
            stream = codec.CodeStream(data)
            if stream.codec_name != "jpeg" or stream.precision != 8 or stream.num_channels not in _CHANNELS:
                return None
            wanted = codec.DecodeParams(apply_exif_orientation=False, color_spec=codec.ColorSpec.SRGB)
            image = self._decoder().decode(stream, params=wanted)
            return None if image is None else np.array(image.cpu(), np.uint8, order="C")
        except RuntimeError:  # what the library makes of a damaged file
            return None

    def _decoder(self) -> Any:
        if not hasattr(self._own, "decoder"):
            codec = self._codec
            place = codec.NVIMGCODEC_DEVICE_CPU_ONLY if self._gpu is None else self._gpu
            kinds = (
                (codec.CPU_ONLY,) if self._gpu is None else (codec.HW_GPU_ONLY, codec.GPU_ONLY, codec.HYBRID_CPU_GPU)
            )
            backends = [codec.Backend(kind) for kind in kinds]
            self._own.decoder = codec.Decoder(device_id=place, max_num_cpu_threads=1, backends=backends)
        return self._own.decoder
