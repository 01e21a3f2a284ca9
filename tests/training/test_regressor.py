"""The folded regressor is the published one."""

import torch

from pscr.training.regressor import Regressor


def test_folded_differences_equal_the_published_concatenation():
    torch.manual_seed(0)
    regressor = Regressor(16)
    queries, exemplars = torch.randn(4, 16), torch.randn(3, 16)
    folded = regressor.differences(regressor.query_part(queries), regressor.terms(exemplars))
    for n, query in enumerate(queries):
        published = regressor(query.expand(3, -1), exemplars)
        torch.testing.assert_close(folded[n], published)


def test_parameter_names_are_those_of_the_published_checkpoints():
    shapes = {key: tuple(value.shape) for key, value in Regressor(8).state_dict().items()}
    assert shapes == {"fc1.weight": (8, 16), "fc1.bias": (8,), "fc2.weight": (1, 8), "fc2.bias": (1,)}
