"""Generate n images for a prompt, score them as they leave the pipeline, and keep the best one.

    python examples/diffusers_best_of_n.py "a lighthouse at dusk" --pipeline NAME_OR_FOLDER --count 8 --output best.png

Prints seed and score of each image, the best first, and writes the best image and, beside it, the same lines as
a csv. No image is encoded or decoded in between. Where diffusers is not installed, or no pipeline is named, a stub
stands in for it, which says so and makes noisy copies of an example image. Exit code 0; 1 where no image has a score.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import pscr
from pscr.runtime.ranking import best_first

# Prompt, seeds and diffusers' output_type to n images: "np" an array [n,H,W,3], "pt" a tensor [n,3,H,W], both 0 to 1.
Generate = Callable[[str, list[int], str], Any]
LAYOUTS = {"np": "NHWC", "pt": "NCHW"}
EXAMPLE = Path(__file__).parent / "images" / "coffee.jpg"


def diffusers_pipeline(name: str) -> Generate:
    """A text-to-image pipeline of diffusers, on the GPU where there is one. name: of the hub, or a folder."""
    import torch
    from diffusers import AutoPipelineForText2Image

    device, kind = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)
    pipeline = AutoPipelineForText2Image.from_pretrained(name, torch_dtype=kind).to(device)

    def generate(prompt: str, seeds: list[int], output_type: str) -> Any:
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        return pipeline(prompt, num_images_per_prompt=len(seeds), generator=generators, output_type=output_type).images

    return generate


def stub_pipeline(prompt: str, seeds: list[int], output_type: str) -> Any:
    """No pipeline: an example image with more or less noise by the seed, in the form that diffusers gives."""
    encoded = np.fromfile(EXAMPLE, np.uint8)
    pixels = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.float32) / 255
    draws = [np.random.default_rng(seed) for seed in seeds]
    noisy = [pixels + draw.uniform(0, 0.2) * draw.standard_normal(pixels.shape, np.float32) for draw in draws]
    images = np.stack(noisy).clip(0, 1).astype(np.float32)
    if output_type == "np":
        return images
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2)


def main(words: list[str]) -> int:
    """Generate, score, keep the best."""
    parser = argparse.ArgumentParser(description="the best of n generated images")
    parser.add_argument("prompt")
    parser.add_argument("--pipeline", help="a text-to-image pipeline of diffusers: its name or folder")
    parser.add_argument("--count", type=int, default=4, help="images to choose from (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the first image; the others count on from it")
    parser.add_argument("--output-type", choices=LAYOUTS, default="np", help="as diffusers has it (default: np)")
    parser.add_argument("--model", default="agiqa3k-pair", help="the pscr model that scores")
    parser.add_argument(
        "--device", default="auto", help="where it scores; tensorrt reads a GPU's tensors where they are"
    )
    parser.add_argument("--output", type=Path, default=Path("best.png"), help="the best image (default: best.png)")
    options = parser.parse_args(words)

    if options.pipeline and importlib.util.find_spec("diffusers"):
        generate = diffusers_pipeline(options.pipeline)
    else:
        why = "diffusers is not installed" if options.pipeline else "no --pipeline is named"
        print(f"STUB PIPELINE ({why}): noisy copies of {EXAMPLE.name}, whatever the prompt")
        generate = stub_pipeline

    seeds = list(range(options.seed, options.seed + options.count))
    images, layout = generate(options.prompt, seeds, options.output_type), LAYOUTS[options.output_type]
    with pscr.open(options.model, options.device) as scorer:
        if layout == "NCHW" and not scorer.info["device"].startswith("tensorrt"):
            images = images.float().cpu()  # the others read the host's memory
        results = scorer.score_pixels(images, layout=layout, value_range=(0, 1))
        order = best_first(scorer.scale, results)
    if not order:
        print(f"no image has a score: {results[0].message}", file=sys.stderr)
        return 1

    rows = [("seed", "score"), *((str(seeds[place]), f"{results[place].score:.3f}") for place in order)]
    for seed, score in rows:
        print(f"{seed:>6} {score:>7}")
    with options.output.with_suffix(".csv").open("w", encoding="utf-8", newline="") as log:
        csv.writer(log).writerows(rows)
    best = images[order[0]] if layout == "NHWC" else images[order[0]].permute(1, 2, 0).float().cpu().numpy()
    cv2.imwrite(str(options.output), cv2.cvtColor((best * 255).round().astype(np.uint8), cv2.COLOR_RGB2BGR))
    print(f"seed {seeds[order[0]]} is the best of {options.count}: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
