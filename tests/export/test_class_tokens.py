"""Class tokens are put ahead of the others by operators whose output is bounded, and to the bit as before."""

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from pscr.export.score_graph import exported


class Tokens(nn.Module):
    """[N,5,3] to [N,8,3]: a class token and two registers ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.registers = nn.Parameter(torch.randn(1, 1, 3)), nn.Parameter(torch.randn(1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.token.expand(x.shape[0], -1, -1), self.registers.expand(x.shape[0], -1, -1), x], 1)


def test_tokens_are_padded_and_added_in_a_batch_of_any_size():
    module, dynamic = Tokens(), ({0: torch.export.Dim("N", min=1)},)
    proto = exported(module, (torch.zeros(2, 5, 3),), ["x"], ["y"], dynamic, half_weights=False)
    assert [node.op_type for node in proto.graph.node] == ["Pad", "Add"]
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 2, 7):
        x = torch.randn(count, 5, 3)
        with torch.inference_mode():
            np.testing.assert_array_equal(session.run(None, {"x": x.numpy()})[0], module(x).numpy())
