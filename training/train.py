"""`pscr train`: train a PSCR model on a database and leave a run folder."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from ..runtime.errors import PscrError, Status
from . import checkpoint, databases, splits
from .backbones import BACKBONES
from .trainer import Config, Trainer, check_resumable


def parser() -> argparse.ArgumentParser:
    """The command line of `pscr train`; every option's default is the recipe of the default model."""
    result = argparse.ArgumentParser(
        prog="pscr train",
        description="Train a PSCR model. Running the same command again goes on from the last finished epoch.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add("--data", required=True, help=databases.EXPECTED)
    add(
        "--label",
        default=Config.label,
        help="what the scores judge: quality; agiqa3k also alignment; aigciqa2023 also "
        "authenticity, correspondence; csv any word",
    )
    add("-o", "--output", type=Path, required=True, metavar="RUN", help="the run folder")
    add("--backbone", default=Config.backbone, choices=sorted(BACKBONES), help="the shared network")
    add("--pretrained", default=Config.pretrained, help="imagenet, none, or a checkpoint file")
    add("--epochs", type=int, default=Config.epochs, help="passes over the training images")
    add("--batch", type=int, default=Config.batch, help="images per step; each is exemplar to all the others")
    add("--patches", type=int, default=Config.patches, help="patches per image and step, of the sampling's grid")
    add("--crops", default=Config.crops, choices=("random", "grid"), help="where training patches are cut")
    add("--lr", type=float, default=Config.lr, help="highest learning rate of the backbone")
    add("--head-lr", type=float, default=Config.head_lr, help="highest learning rate of the regressor")
    add("--weight-decay", type=float, default=Config.weight_decay, help="AdamW's decoupled weight decay")
    add("--dropout", type=float, default=Config.dropout, help="dropout on the pooled features")
    add("--drop-path", type=float, default=Config.drop_path, help="stochastic depth at the last block")
    add("--mixup", type=float, default=Config.mixup, help="strength of mixup between images of a batch; 0 for none")
    add(
        "--rank-weight",
        type=float,
        default=Config.rank_weight,
        help="weight of the ranking loss beside the paper's; 0: none",
    )
    add("--rank-scale", type=float, default=Config.rank_scale, help="difference that counts as clear, in score units")
    add(
        "--frozen-blocks",
        type=int,
        default=argparse.SUPPRESS,
        help="leading blocks kept as they are and cached (default: 5 for EfficientNet-Lite, 0 for the others)",
    )
    add("--averaging", type=float, default=Config.averaging, help="decay of the weight average that is validated")
    add("--head-epochs", type=int, default=Config.head_epochs, help="epochs of the regressor alone, at the start")
    add("--exemplars", type=int, default=Config.exemplars, help="training images that validation compares with")
    add("--validate-every", type=int, default=Config.validate_every, metavar="N", help="epochs between validations")
    add("--val", type=float, default=Config.val, help="share of the images that selects and never trains; 0 for none")
    add("--split-by", default=Config.split_by, choices=splits.BY, help="what is drawn for validation")
    add("--seed", type=int, default=Config.seed, help="decides the split and the regressor's first weights")
    add("--shuffle", type=int, default=Config.shuffle, help="decides the order of the images and the patches")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads")
    add("--cache", type=Path, default=None, metavar="DIR", help="where frozen layers are cached (default: RUN/cache)")
    columns = result.add_argument_group("columns of a csv: file")
    columns.add_argument("--path-column", default=Config.path_column, help="image files, relative to the CSV file")
    columns.add_argument("--score-column", default=Config.score_column, help="opinion scores")
    columns.add_argument("--group-column", default=Config.group_column, help="prompts, for --split-by prompt")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pscr train`. Returns the exit code: 0, 1 for data that cannot be used, 3 for weights that cannot."""
    arguments = parser().parse_args(argv)
    try:
        return _train(arguments)
    except PscrError as error:
        sys.stderr.write(f"pscr train: error: {error}\n")
        return 3 if error.status is Status.MODEL_INVALID else 1
    except KeyboardInterrupt:
        sys.stderr.write("pscr train: stopped; the same command goes on from the last finished epoch\n")
        return 130


def _train(arguments: argparse.Namespace) -> int:
    options = {"frozen_blocks": BACKBONES[arguments.backbone].frozen, **vars(arguments)}
    config = Config(**{field.name: options[field.name] for field in fields(Config)})
    run: Path = arguments.output
    database = config.load_database()
    check_resumable(config, run)
    for note in database.notes:
        sys.stderr.write(f"{note}\n")
    train, val = splits.split(database.items, config.split_by, config.val, config.seed)
    run.mkdir(parents=True, exist_ok=True)
    names = {part: [database.items[i].name for i in chosen] for part, chosen in (("train", train), ("val", val))}
    checkpoint.write_atomically(run / "split.json", json.dumps(names, indent=1).encode())
    description = {**asdict(config), "database": database.name, "scale": database.scale}
    description["label_column"] = database.label
    trainer = Trainer(config, database, train, val, run, arguments.cache)
    checkpoint.write_atomically(run / "config.json", json.dumps(description, indent=1).encode())
    sys.stderr.write(f"{len(train)} images train, {len(val)} validate (seed {config.seed}, by {config.split_by})\n")
    for row in trainer.fit():
        sys.stderr.write(", ".join(f"{key} {value:.4g}" for key, value in row.items()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
