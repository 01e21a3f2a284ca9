"""The command line of `pscr train`: an option for every field of `Config`, and what a recipe makes their defaults."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from . import databases, splits
from .backbones import BACKBONES
from .config import PROTOCOLS, RECIPES, Config, defaults
from .model import FEATURES, METHODS, PATCHED

DECIDING = {
    "recipe": "ours",
    "method": Config.method,
    "sampling": "",
    "protocol": Config.protocol,
    "backbone": Config.backbone,
}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read a command line. The recipe, method, sampling, protocol and backbone decide the other options' defaults."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name, default in DECIDING.items():
        first.add_argument(f"--{name}", default=default)
    found = vars(first.parse_known_args(argv)[0])
    full = parser()
    if found["recipe"] in RECIPES and found["backbone"] in BACKBONES:
        full.set_defaults(**defaults(**found))
    return full.parse_args(argv)


def parser() -> argparse.ArgumentParser:
    """The parser, with the defaults of our own recipe."""
    result = argparse.ArgumentParser(
        prog="pscr train",
        description="Train a PSCR model. Running the same command again goes on from where the run was stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add("--data", required=True, help=databases.EXPECTED)
    add(
        "--label",
        default=Config.label,
        help="what the scores judge: quality; agiqa3k also alignment; aigciqa2023 also "
        "authenticity, correspondence; csv any word",
    )
    add("--also", default=Config.also, metavar="SPECS", help="further databases that train along, separated by spaces")
    add("-o", "--output", type=Path, required=True, metavar="RUN", help="the run folder")
    add("--repeats", type=int, default=1, metavar="N", help="run N times, with seeds from --seed on, in RUN/seed-K")
    add(
        "--recipe",
        default="ours",
        choices=RECIPES,
        help="defaults of the options below: ours; published, as PSCR was trained; dense, as the default model was",
    )
    _method(result.add_argument_group("what is trained"))
    _protocol(result.add_argument_group("what it is measured on"))
    _optimisation(result.add_argument_group("how it is trained"))
    _machine(result.add_argument_group("where it runs"))
    columns = result.add_argument_group("columns of a csv: file")
    columns.add_argument("--path-column", default=Config.path_column, help="image files, relative to the CSV file")
    columns.add_argument("--score-column", default=Config.score_column, help="opinion scores")
    columns.add_argument("--group-column", default=Config.group_column, help="prompts, for --split-by prompt")
    return result


def _method(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--method",
        default=Config.method,
        choices=METHODS,
        help="pscr; cr: contrastive regression on the resized image, without patches; nr: direct regression of the "
        "score on the resized image, without exemplars",
    )
    add("--sampling", default=Config.sampling, choices=PATCHED, help="patches of pscr; cr and nr have none")
    add(
        "--features",
        default=Config.features,
        choices=FEATURES,
        help="last: the backbone's pooled output, as published; depths: mean and deviation at several depths",
    )
    add("--scales", type=int, default=Config.scales, choices=(1, 2), help="2: each patch at half its size too")
    add(
        "--hidden",
        type=int,
        default=Config.hidden,
        help="width of the regressor; 0: as wide as the features",
    )
    add("--backbone", default=Config.backbone, choices=sorted(BACKBONES), help="the shared network")
    add("--pretrained", default=Config.pretrained, help="imagenet, none, or a checkpoint file")
    add("--initial", default=Config.initial, metavar="RUN", help="begin with the selected weights of another run")
    add(
        "--frozen-blocks",
        type=int,
        default=Config.frozen_blocks,
        help="leading blocks kept as they are and cached (5 for EfficientNet-Lite, 0 for the others)",
    )


def _protocol(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--protocol",
        default=Config.protocol,
        choices=PROTOCOLS,
        help="held-out: validation images choose the epoch, test images are scored once; published: 80/20, the best "
        "test epoch, exemplars drawn anew for each image",
    )
    add("--split", default=Config.split, metavar="FILE", help="a split.json to take, in place of drawing one")
    add("--val", type=float, default=Config.val, help="share of the images that selects and never trains; 0 for none")
    add("--test", type=float, default=Config.test, help="share of the images that does neither and is scored once")
    add("--split-by", default=Config.split_by, choices=splits.BY, help="what is drawn for validation and test")
    add("--exemplars", type=int, default=Config.exemplars, help="training images that an image is compared with")
    add("--validate-every", type=int, default=Config.validate_every, metavar="N", help="epochs between validations")
    add("--seed", type=int, default=Config.seed, help="decides the split and the regressor's first weights")


def _optimisation(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--epochs", type=int, default=Config.epochs, help="passes over the training images")
    add("--patience", type=int, default=Config.patience, help="validations without a better one that end it; 0: never")
    add("--batch", type=int, default=Config.batch, help="images per batch, over all processes")
    add("--accumulate", type=int, default=Config.accumulate, metavar="N", help="batches per update of the weights")
    add(
        "--pairs",
        default=Config.pairs,
        choices=("all", "partner"),
        help="each image is exemplar to all others of its batch, or has one random partner",
    )
    add("--patches", type=int, default=Config.patches, help="patches per image and step, of the sampling's")
    add("--crops", default=Config.crops, choices=("random", "grid"), help="where training patches are cut")
    add("--window", type=float, default=Config.window, help="smallest share of a cached patch's side that a step sees")
    add("--optimizer", default=Config.optimizer, choices=("adamw", "adam"), help="adam: weight decay in the gradient")
    add("--lr", type=float, default=Config.lr, help="highest learning rate of the backbone")
    add("--head-lr", type=float, default=Config.head_lr, help="highest learning rate of the regressor")
    add("--schedule", default=Config.schedule, choices=("cosine", "constant"), help="of the learning rates")
    add("--warmup", type=int, default=Config.warmup, metavar="N", help="steps in which they rise")
    add("--weight-decay", type=float, default=Config.weight_decay, help="weight decay")
    add("--clip", type=float, default=Config.clip, help="largest norm of the gradient; 0 for any")
    add("--dropout", type=float, default=Config.dropout, help="dropout on the pooled features")
    add("--drop-path", type=float, default=Config.drop_path, help="stochastic depth at the last block")
    add("--copies", type=int, default=Config.copies, metavar="N", help="altered copies of each training image")
    add("--copy-weight", type=float, default=Config.copy_weight, help="weight of the loss on pairs with a copy")
    add("--mixup", type=float, default=Config.mixup, help="strength of mixup between images of a batch; 0 for none")
    add(
        "--rank-weight",
        type=float,
        default=Config.rank_weight,
        help="weight of the ranking loss beside the paper's; 0: none",
    )
    add(
        "--rank-scale",
        type=float,
        default=Config.rank_scale,
        help="difference that counts as clear, in standard deviations of the scores",
    )
    add(
        "--batch-norm",
        default=Config.batch_norm,
        choices=("frozen", "trained"),
        help="statistics of the batch normalisations behind the frozen blocks",
    )
    add("--averaging", type=float, default=Config.averaging, help="decay of the weight average that is validated")
    add("--head-epochs", type=int, default=Config.head_epochs, help="epochs of the regressor alone, at the start")
    add("--shuffle", type=int, default=Config.shuffle, help="decides the order of the images and the patches")


def _machine(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--device", default=Config.device, help="auto, cpu, cuda or cuda:N; several GPUs: accelerate launch")
    add(
        "--precision",
        default=Config.precision,
        choices=("auto", "fp32", "bf16", "fp16"),
        help="of the backbone in training; auto: bf16 or fp16 on a GPU, fp32 elsewhere",
    )
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads")
    add("--cache", type=Path, default=None, metavar="DIR", help="where frozen layers are cached (default: RUN/cache)")
