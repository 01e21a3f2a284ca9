"""The regressors: the contrastive one of PSCR in its folded form, and the direct one that it is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Regressor(nn.Module):
    """Linear(2C, H), ReLU, Linear(H, 1) on [query, exemplar]: the difference of the two images' scores.

    As published H = C.

    Parameter names (`fc1`, `fc2`) are those of the published checkpoints. Source: PSCR section III-C.
    """

    def __init__(self, channels: int, hidden: int = 0) -> None:
        super().__init__()
        self.channels, self.hidden = channels, hidden or channels
        self.fc1 = nn.Linear(2 * channels, self.hidden)
        self.fc2 = nn.Linear(self.hidden, 1)

    def forward(self, query: Tensor, exemplar: Tensor) -> Tensor:
        """[N,C] and [N,C] to the differences [N], computed as published, on the concatenation."""
        return self.fc2(torch.relu(self.fc1(torch.cat([query, exemplar], 1)))).squeeze(1)

    def query_part(self, features: Tensor) -> Tensor:
        """Wq q: [N,C] to [N,H]. W[q;e] + b = Wq q + (We e + b), so the first layer splits exactly."""
        return features @ self.fc1.weight[:, : self.channels].T

    def terms(self, features: Tensor) -> Tensor:
        """We e + b: [K,C] to the exemplar terms [K,H], which do not depend on the query."""
        return features @ self.fc1.weight[:, self.channels :].T + self.fc1.bias

    def differences(self, query_part: Tensor, terms: Tensor) -> Tensor:
        """Every query against every exemplar: [N,H] and [K,H] to [N,K]."""
        hidden = torch.relu(query_part[:, None] + terms[None])
        # The weights as a matrix: onnxruntime's product with a vector takes six times as long.
        return (hidden @ self.fc2.weight.T).squeeze(2) + self.fc2.bias


class DirectRegressor(Regressor):
    """Linear(C, C), ReLU, Linear(C, 1) on the query alone: how far the image is from the mean training image (NR).

    In the score graph it is a contrastive regressor whose exemplar half is zero: every image has the same exemplar
    term, the first layer's bias, so a bank of that one term and the mean training opinion gives the score.
    """

    def __init__(self, channels: int, hidden: int = 0) -> None:
        super().__init__(channels, hidden)
        self.fc1 = nn.Linear(channels, self.hidden)

    def forward(self, query: Tensor, exemplar: Tensor) -> Tensor:
        """[N,C] to [N]; `exemplar` is not looked at."""
        return self.fc2(torch.relu(self.fc1(query))).squeeze(1)

    def terms(self, features: Tensor) -> Tensor:
        """See Regressor: the bias, for each of the K."""
        return self.fc1.bias.expand(features.shape[0], -1)
