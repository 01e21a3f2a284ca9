"""Backbones by name, where timm is not needed or not there."""

import sys

import pytest

from pscr.runtime.errors import PscrError, Status
from pscr.training import backbones
from pscr.training.train import parse


def test_a_name_of_timm_is_taken_by_the_command_line_without_importing_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    _, config = parse(["--data", "csv:x", "-o", "run", "--backbone", "timm:convnext_atto"])
    assert config.backbone == "timm:convnext_atto"
    assert config.frozen_blocks == 0


@pytest.mark.parametrize("name", ["nonesuch", "timm:", "timm"])
def test_another_name_is_refused_with_those_there_are(name, capsys):
    with pytest.raises(SystemExit):
        parse(["--data", "csv:x", "-o", "run", "--backbone", name])
    assert "timm:NAME" in capsys.readouterr().err
    with pytest.raises(PscrError, match=r"resnet18.*timm:NAME") as caught:
        backbones.find(name)
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_without_timm_its_networks_are_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(PscrError, match=r"pip install 'pscr\[timm\]'") as caught:
        backbones.find("timm:convnext_atto")
    assert caught.value.status is Status.INVALID_ARGUMENT
