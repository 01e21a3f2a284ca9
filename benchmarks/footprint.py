"""What the runtime costs before it is fast: import time, first score, memory of a long run, installed size.

    python benchmarks/footprint.py [--images 1000] [--model NAME]

Every figure comes from a fresh process of this interpreter, so run it with the environment that is to be measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pscr.runtime.scorer import DEFAULT_MODEL

IMAGES = Path(__file__).parents[1] / "examples" / "images"

FIRST = """
import pscr
with pscr.open({model!r}, device="cpu") as scorer:
    scorer.score({image!r})
"""

MANY = """
import itertools, resource, pscr
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with pscr.open({model!r}, device="cpu") as scorer:
    images = itertools.islice(itertools.cycle({images!r}), {count})
    marks = {{}}
    for done, _ in enumerate(scorer.score_many(images), 1):
        if done in ({count} // 10, {count}):
            marks[done] = peak()
print(*marks.values())
"""


def seconds(program: str) -> float:
    """Wall time of one fresh process that runs `program`."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - started


def installed(names: list[str]) -> dict[str, float]:
    """Megabytes of each installed distribution, by the sizes of the files it lists."""
    sizes = {}
    for name in names:
        files = importlib.metadata.files(name) or []
        paths = [Path(str(file.locate())) for file in files]
        sizes[name] = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
    return sizes


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="images of the memory run (default: %(default)s)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=7, help="processes per time (default: %(default)s)")
    options = parser.parse_args()
    images = [str(path) for path in sorted(IMAGES.iterdir())]
    bare = [seconds("pass") for _ in range(options.repeats)]
    alone = [seconds("import pscr") for _ in range(options.repeats)]
    first = [seconds(FIRST.format(model=options.model, image=images[0])) for _ in range(options.repeats)]
    program = MANY.format(model=options.model, images=images, count=options.images)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    early, late = (float(word) for word in done.stdout.split())
    sizes = installed([dist.metadata["Name"] for dist in importlib.metadata.distributions()])
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, model {options.model}")
    print(f"python alone, process start to end        {statistics.median(bare):8.3f} s  (median of {options.repeats})")
    print(f"import pscr, process start to end         {statistics.median(alone):8.3f} s")
    print(f"first score, process start to end         {statistics.median(first):8.3f} s")
    print(f"peak memory after {options.images // 10:6d} images           {early:8.0f} MiB")
    print(f"peak memory after {options.images:6d} images           {late:8.0f} MiB")
    print(f"installed, all distributions              {sum(sizes.values()):8.0f} MB")
    for name, size in sorted(sizes.items(), key=lambda entry: -entry[1])[:6]:
        print(f"  {name:40s}{size:8.0f} MB")


if __name__ == "__main__":
    main()
