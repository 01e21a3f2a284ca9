"""What each of the 25 distortions does to an image.

Every change takes image [H,W,3] uint8 RGB, its parameter and the source of what is random, and gives [H,W,3], a new
array: uint8, or float32 that `distort` rounds and clips. Where a method is somebody's, its name stands with it.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
PATCH, BLOCK = 16, 32  # pixels: side of a displaced patch and of a coloured block
_FEWEST = 64  # pixels of a side: the wavelet levels of JPEG 2000 need as many

# Blur


def gaussian(image: Pixels, sigma: float, rng: np.random.Generator) -> Any:
    """sigma in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def lens(image: Pixels, radius: float, rng: np.random.Generator) -> Any:
    """A disk of this radius in pixels; its rim counts by half a pixel of distance."""
    reach = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    disk = np.clip(radius + 0.5 - np.hypot(*np.meshgrid(reach, reach)), 0, 1)
    return cv2.filter2D(image, -1, disk / disk.sum())


def motion(image: Pixels, length: float, rng: np.random.Generator) -> Any:
    """A line of this length in pixels, in a random direction."""
    angle, half = rng.uniform(0, math.pi), (length - 1) / 2
    reach = np.arange(-math.ceil(half) - 1, math.ceil(half) + 2)
    x, y = np.meshgrid(reach, reach)
    along, aside = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    line = np.clip(1 - np.hypot(along - np.clip(along, -half, half), aside), 0, 1)
    return cv2.filter2D(image, -1, line / line.sum())


# Colour


def _lab(image: Pixels) -> Floats:
    """CIE Lab, L 0..100, in floats: OpenCV's Lab of bytes moves colours by itself."""
    return np.asarray(cv2.cvtColor(np.multiply(image, 1 / 255, dtype=np.float32), cv2.COLOR_RGB2Lab), np.float32)


def _from_lab(lab: Floats) -> Floats:
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), np.float32) * np.float32(255)


def diffusion(image: Pixels, amount: float, rng: np.random.Generator) -> Any:
    """Colour (a, b) runs over the edges, by a Gaussian of 1.5 amount + 2 pixels, and is multiplied by the amount."""
    lab = _lab(image)
    lab[..., 1:] = cv2.GaussianBlur(lab[..., 1:], (0, 0), 1.5 * amount + 2).reshape(*lab.shape[:2], 2) * amount
    return _from_lab(lab)


def shift(image: Pixels, distance: float, rng: np.random.Generator) -> Any:
    """The green channel moves by this many pixels in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    moved = (round(distance * math.sin(angle)), round(distance * math.cos(angle)))
    rows, columns = (
        np.clip(np.arange(side) + by, 0, side - 1) for side, by in zip(image.shape[:2], moved, strict=True)
    )
    result = image.copy()
    result[..., 1] = image[..., 1][rows][:, columns]
    return result


def palette(image: Pixels, colours: int, rng: np.random.Generator) -> Any:
    """So many colours, by splitting cells of least variance; errors spread as Floyd and Steinberg (1976) have it."""
    place = ((image >> 3).astype(np.int32) @ np.array([1024, 32, 1], np.int32)).ravel()
    counts = np.bincount(place, minlength=32**3).astype(np.float32)
    grid = np.stack(np.unravel_index(np.arange(32**3), (32, 32, 32)), 1).astype(np.float32) * 8 + 4
    sums = np.stack([np.bincount(place, image[..., one].ravel(), 32**3) for one in range(3)], 1)
    np.divide(sums, counts[:, None], out=grid, where=counts[:, None] > 0, casting="unsafe")

    def cell(members: NDArray[np.intp]) -> tuple[float, NDArray[np.intp], Floats, int]:
        """Its squared error, its members, its mean colour and the axis along which it is widest."""
        weights = counts[members, None]
        centre = (grid[members] * weights).sum(0) / weights.sum()
        errors = ((grid[members] - centre) ** 2 * weights).sum(0)
        return float(errors.sum()), members, centre, int(errors.argmax())

    cells = [cell(np.flatnonzero(counts))]
    while len(cells) < colours:
        cells.sort(key=lambda one: one[0])
        if cells[-1][0] < 1:
            break
        _, members, centre, axis = cells.pop()
        low = grid[members, axis] <= centre[axis]
        cells += [cell(members[low]), cell(members[~low])]
    palette = np.stack([one[2] for one in cells])
    nearest = palette[((palette**2).sum(1) - 2 * grid @ palette.T).argmin(1)]
    return _spread(image, nearest)


def _spread(image: Pixels, nearest: Floats) -> Floats:
    """Error diffusion, a slanted line at a time; nearest: [32768,3], the colour for each 5-bit colour.

    A pixel needs what is left of it and the three above it, so all pixels of equal x + 2y can be done together:
    `slanted[x + 2y, y]` is the pixel (y, x).
    """
    height, width = image.shape[:2]
    rows = np.arange(height)
    slanted = np.zeros((width + 2 * height + 2, height + 1, 3), np.float32)
    slanted[rows[:, None] * 2 + np.arange(width), rows[:, None]] = image
    steps = np.array([1024, 32, 1], np.intp)
    for line in range(width + 2 * height - 2):
        some = slice(max(0, (line - width + 2) // 2), min(height, line // 2 + 1))
        below = slice(some.start + 1, some.stop + 1)
        found = slanted[line, some]
        chosen = nearest[(np.clip(found, 0, 255).astype(np.intp) >> 3) @ steps]
        error = np.clip((found - chosen) / np.float32(16), -2, 2)  # what no colour near it can make up for is let go
        found[:] = chosen
        slanted[line + 1, some] += 7 * error
        slanted[line + 1, below] += 3 * error
        slanted[line + 2, below] += 5 * error
        slanted[line + 3, below] += error
    return slanted[rows[:, None] * 2 + np.arange(width), rows[:, None]]


def saturation_hsv(image: Pixels, factor: float, rng: np.random.Generator) -> Any:
    """HSV's S is multiplied: each channel's distance to the largest is; below 0 the hue turns to its complement."""
    most = image.max(2, keepdims=True).astype(np.float32)
    return most - np.float32(factor) * (most - image)


def saturation_lab(image: Pixels, factor: float, rng: np.random.Generator) -> Any:
    """Lab's a and b are multiplied."""
    lab = _lab(image)
    lab[..., 1:] *= factor
    return _from_lab(lab)


# Compression


def jpeg2000(image: Pixels, ratio: float, rng: np.random.Generator) -> Any:
    """JPEG 2000 at a compression ratio; OpenCV takes thousandths of the raw size.

    OpenCV codes the channels as they are, which costs 3 to 5 dB on photographs, so they are made luminance and colour
    here, as other encoders do inside.
    """
    height, width = image.shape[:2]
    below, right = max(0, _FEWEST - height), max(0, _FEWEST - width)
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    padded = cv2.copyMakeBorder(luma, 0, below, 0, right, cv2.BORDER_REPLICATE)
    decoded = _coded(padded, ".jp2", cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, round(1000 / ratio))[:height, :width]
    return cv2.cvtColor(decoded, cv2.COLOR_YCrCb2RGB)


def jpeg(image: Pixels, quality: int, rng: np.random.Generator) -> Any:
    """JPEG at a quality of 1 to 100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.cvtColor(_coded(bgr, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality), cv2.COLOR_BGR2RGB)


def _coded(image: Any, suffix: str, *options: int) -> Any:
    return cv2.imdecode(cv2.imencode(suffix, image, list(options))[1], cv2.IMREAD_COLOR)


# Noise; variances are of values from 0 to 1


def white(image: Pixels, variance: float, rng: np.random.Generator) -> Any:
    return rng.standard_normal(image.shape, np.float32) * np.float32(255 * math.sqrt(variance)) + image


def white_colour(image: Pixels, variance: float, rng: np.random.Generator) -> Any:
    """White noise on Y, Cb and Cr."""
    luma = np.asarray(cv2.cvtColor(np.multiply(image, 1 / 255, dtype=np.float32), cv2.COLOR_RGB2YCrCb))
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(math.sqrt(variance))
    return np.asarray(cv2.cvtColor(luma + noise, cv2.COLOR_YCrCb2RGB)) * np.float32(255)


def impulse(image: Pixels, share: float, rng: np.random.Generator) -> Any:
    """This share of all values becomes 0 or 255."""
    dice = rng.random(image.shape, np.float32)
    return np.where(dice < share / 2, np.uint8(0), np.where(dice > 1 - share / 2, np.uint8(255), image))


def multiplicative(image: Pixels, variance: float, rng: np.random.Generator) -> Any:
    """Each value times 1 + noise; the noise is uniform."""
    reach = math.sqrt(3 * variance)
    return (1 - reach + np.float32(2 * reach) * rng.random(image.shape, np.float32)) * image


def denoise(image: Pixels, variance: float, rng: np.random.Generator) -> Any:
    """White noise, then a smoother that keeps strong edges: the guided filter (He et al. 2010), guided by the image.

    KADID removes the noise by a network (DnCNN), which has no place here; what remains looks alike: textures are gone,
    edges stay, with some noise beside them.
    """
    noisy: Floats = np.clip(white(image, variance, rng), 0, 255)

    def mean(values: NDArray[Any]) -> Floats:
        return np.asarray(cv2.blur(values, (9, 9), borderType=cv2.BORDER_REFLECT), np.float32).reshape(values.shape)

    middle = mean(noisy)
    spread = np.maximum(mean(noisy * noisy) - middle * middle, 0)
    slope = spread / (spread + np.float32(255**2 * variance * 4))
    return mean(slope) * noisy + mean(middle - slope * middle)


# Brightness


def curve(image: Pixels, amount: float, rng: np.random.Generator) -> Any:
    """Lab's L through the parabola that keeps black and white and moves the middle by amount / 2."""
    lab = _lab(image)
    light = lab[..., 0] / 100
    lab[..., 0] = np.clip(light + 2 * amount * light * (1 - light), 0, 1) * 100
    return _from_lab(lab)


def mean_shift(image: Pixels, amount: float, rng: np.random.Generator) -> Any:
    return image + np.float32(255 * amount)


# Spatial


def jitter(image: Pixels, amount: float, rng: np.random.Generator) -> Any:
    """Each pixel is taken from beside it: five steps of a normal distance with this deviation in pixels, as one."""
    height, width = image.shape[:2]
    steps = rng.standard_normal((2, height, width), np.float32) * np.float32(math.sqrt(5) * amount)
    x, y = steps[0] + np.arange(width, dtype=np.float32), steps[1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def patches(image: Pixels, count: int, rng: np.random.Generator) -> Any:
    """Squares are copied to a place a square's side away, in a random direction."""
    height, width = image.shape[:2]
    rows, columns = min(PATCH, height), min(PATCH, width)
    result = image.copy()
    for y, x, turn in rng.random((count, 3)) * (height - rows + 1, width - columns + 1, 2 * math.pi):
        to_y = int(np.clip(y + PATCH * math.sin(turn), 0, height - rows))
        to_x = int(np.clip(x + PATCH * math.cos(turn), 0, width - columns))
        result[to_y : to_y + rows, to_x : to_x + columns] = image[int(y) :, int(x) :][:rows, :columns]
    return result


def pixelate(image: Pixels, scale: float, rng: np.random.Generator) -> Any:
    """Scaled down to this part of each side and back up, without interpolation."""
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (math.ceil(width * scale), math.ceil(height * scale)), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def quantize(image: Pixels, levels: int, rng: np.random.Generator) -> Any:
    """So many values over all channels, those of least squared error: several of Otsu's thresholds, found by turns."""
    values = np.arange(256)
    counts = np.bincount(image.ravel(), minlength=256).astype(float)
    even = (np.arange(levels) + 0.5) / levels
    centres = (np.searchsorted(np.cumsum(counts), even * image.size) + 255 * even) / 2
    for _ in range(20):
        group = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        weights = np.bincount(group, counts, levels)
        centres = np.where(weights > 0, np.bincount(group, counts * values, levels) / np.maximum(weights, 1), centres)
    return cv2.LUT(image, np.rint(centres[group]).astype(np.uint8))


def blocks(image: Pixels, count: int, rng: np.random.Generator) -> Any:
    """Squares of one random colour each, at random places."""
    height, width = image.shape[:2]
    result = image.copy()
    for y, x, *colour in rng.random((count, 5)) * (max(1, height - BLOCK), max(1, width - BLOCK), 256, 256, 256):
        result[int(y) : int(y) + BLOCK, int(x) : int(x) + BLOCK] = np.array(colour, np.uint8)
    return result


# Sharpness and contrast


def sharpen(image: Pixels, amount: float, rng: np.random.Generator) -> Any:
    """Unsharp masking of the luminance, sigma 3 pixels."""
    light = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    return (np.float32(amount) * (light - np.asarray(cv2.GaussianBlur(light, (0, 0), 3))))[..., None] + image


def contrast(image: Pixels, amount: float, rng: np.random.Generator) -> Any:
    """Each value through the odd cubic that keeps black, the middle and white and takes 0.7 to 0.75 + amount / 4."""
    around = np.linspace(-1, 1, 256)
    slope = (0.436 + amount / 2) / 0.336
    curve = slope * around + (1 - slope) * around**3
    return cv2.LUT(image, np.rint(np.clip(curve / 2 + 0.5, 0, 1) * 255).astype(np.uint8))
