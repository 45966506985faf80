"""The skin bears a placement out, or does not: against a plain reference, and on skins whose truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from engine.matching.block_correlation import (
    AGREES,
    BLOCK,
    CELL,
    MEANINGS,
    NAMES,
    NOISE,
    REACH,
    SHOWN,
    correlations,
    prepared,
)
from features.records import ByteArray
from features.skin.picture import NEUTRAL, SCALES, SIZE, UNSEEN

WIDTH, HEIGHT = SIZE
MOVED = np.array([[1.02, 0.03, 2.5], [-0.02, 0.98, 4.0], [0.0, 0.0, 1.0]])


def skin(seed: int) -> ByteArray:
    """Marks of three sizes on an ellipse of body."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    body = ((x - WIDTH / 2) / (WIDTH * 0.45)) ** 2 + ((y - HEIGHT / 2) / (HEIGHT * 0.48)) ** 2 < 1
    layers = [cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH)), (0, 0), sigma) for sigma in (5.0, 2.5, 1.5)]
    levels = [np.clip(NEUTRAL + 50 * layer / layer.std(), 1, 255) for layer in layers]
    return np.asarray(np.dstack(levels) * body[:, :, None], np.uint8)


def moved(picture: ByteArray, model: npt.NDArray[np.float64]) -> ByteArray:
    """The picture of the same animal in which a pixel x lies at model x."""
    body = (picture[:, :, :1] != UNSEEN).astype(np.float32)
    level = cv2.warpPerspective((picture.astype(np.float32) - NEUTRAL) * body, model, SIZE) + NEUTRAL
    seen = cv2.warpPerspective(body, model, SIZE) > 0.99
    return np.asarray(np.clip(np.rint(level), 1, 255) * seen[:, :, None], np.uint8)


def of_pair(first: ByteArray, second: ByteArray, model: npt.NDArray[np.float64]) -> dict[str, float]:
    """What is measured of one pair, in pictures whose canonical pixels are the skin's."""
    (row,) = correlations(prepared(first), [prepared(second)], model[None], np.ones(1, bool), SIZE, [SIZE])
    return dict(zip(NAMES, row.tolist(), strict=True))


def plain(first: ByteArray, second: ByteArray, model: npt.NDArray[np.float64]) -> list[float]:
    """The same numbers, written down as they are defined."""
    own, laid = np.zeros((2, len(SCALES), HEIGHT, WIDTH))
    own_seen, seen = np.zeros((2, HEIGHT, WIDTH))
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if first[y, x, 0] != UNSEEN:
                own_seen[y, x] = 1
                own[:, y, x] = (first[y, x].astype(float) - NEUTRAL) / 254
            u, v, w = model @ (x, y, 1)
            u, v = u / w, v / w
            if not (0 <= u < WIDTH - 1 and 0 <= v < HEIGHT - 1):
                continue
            i, j = int(v), int(u)
            corners = second[i : i + 2, j : j + 2].astype(float)
            if (corners[:, :, 0] == UNSEEN).any():
                continue
            seen[y, x] = 1
            weights = np.outer([1 - (v - i), v - i], [1 - (u - j), u - j])
            laid[:, y, x] = ((corners - NEUTRAL) / 254 * weights[:, :, None]).sum(axis=(0, 1))
    # Beyond the query's own outline nothing is laid but what shifted blocks can reach.
    near = cv2.dilate(own_seen, np.ones((2 * REACH + 1, 2 * REACH + 1)))
    laid, seen = laid * near, seen * own_seen
    padded = np.pad(laid, ((0, 0), (REACH, REACH), (REACH, REACH)))
    side, found = CELL * BLOCK, []
    for top in range(0, HEIGHT - side + 1, CELL):
        for left in range(0, WIDTH - side + 1, CELL):
            part = np.s_[top : top + side, left : left + side]
            shown = seen[part].sum()
            if shown < SHOWN * side * side:
                continue
            for scale in range(len(SCALES)):
                one = own[scale][part] * seen[part]
                noise = shown * NOISE**2
                norm = np.sqrt(((one**2).sum() + noise) * (((laid[scale] * seen)[part] ** 2).sum() + noise))
                best = max(
                    ((one * padded[scale, top + a : top + a + side, left + b : left + b + side]).sum() / norm, a, b)
                    for a in range(2 * REACH + 1)
                    for b in range(2 * REACH + 1)
                )
                found.append((scale, *best))
    blocks = np.array(found)
    numbers = [seen.sum() / own_seen.sum(), len(blocks) / len(SCALES)]
    for scale in range(len(SCALES)):
        _, best, down, right = blocks[blocks[:, 0] == scale].T
        weights = np.maximum(best, 0) + 1e-6
        spread = sum(np.average((d - np.average(d, weights=weights)) ** 2, weights=weights) for d in (down, right))
        numbers += [best.mean(), (best > AGREES).sum(), np.sqrt(spread) / HEIGHT]
    return numbers


@pytest.mark.parametrize("other", [1, 2])
def test_the_numbers_are_those_of_their_definition(other: int) -> None:
    first, second = skin(1), moved(skin(other), MOVED)
    slanted = MOVED + np.array([[0, 0, 1.3], [0, 0, -0.7], [0.0002, 0.0001, 0]])
    got = of_pair(first, second, slanted)
    np.testing.assert_allclose(list(got.values()), plain(first, second, slanted), rtol=2e-4, atol=2e-5)


def test_a_skin_agrees_with_itself_wherever_it_lies_and_with_no_other() -> None:
    first = skin(1)
    same, other = of_pair(first, moved(first, MOVED), MOVED), of_pair(first, moved(skin(2), MOVED), MOVED)
    assert same["overlap"] > 0.9 and same["blocks"] == other["blocks"] > 50
    for scale, least in zip(SCALES, (0.93, 0.9, 0.8), strict=True):
        assert same[f"correlation_{scale}"] > least
        assert same[f"agreeing_{scale}"] == same["blocks"] and other[f"agreeing_{scale}"] < 0.6 * other["blocks"]
        assert same[f"drift_{scale}"] < 0.7 * other[f"drift_{scale}"]
    assert same["drift_fine"] < 0.002 < 0.01 < other["drift_fine"]


def test_a_wrong_placement_of_the_same_animal_is_not_borne_out() -> None:
    first = skin(1)
    right, wrong = (of_pair(first, first, np.array([[1, 0, 0], [0, 1, d], [0, 0, 1.0]])) for d in (2.0, 30.0))
    assert right["correlation_middle"] > 0.9 and right["drift_middle"] < 0.003
    assert wrong["correlation_middle"] < 0.6 and wrong["drift_middle"] > 0.01


def test_canonical_pixels_of_any_size_are_brought_to_the_skins() -> None:
    first = skin(1)
    # The animal of a photograph twice as large, laid on one of a third of the size.
    model = np.diag([1 / 6, 1 / 6, 1.0])
    model[:2, 2] = (1 / 6 - 1) / 2  # pixel centres are at integers
    sizes = (2 * WIDTH, 2 * HEIGHT), [(WIDTH // 3, HEIGHT // 3)]
    (row,) = correlations(prepared(first), [prepared(first)], model[None], np.ones(1, bool), *sizes)
    assert dict(zip(NAMES, row, strict=True))["correlation_fine"] == pytest.approx(0.96, abs=0.005)  # the rest is NOISE


def test_what_cannot_be_compared_is_unknown() -> None:
    first, nothing = prepared(skin(1)), prepared(np.zeros((HEIGHT, WIDTH, len(SCALES)), np.uint8))
    none, blank, apart = correlations(
        first,
        [first, nothing, first],
        np.stack([np.eye(3), np.eye(3), np.array([[1, 0, 500.0], [0, 1, 0], [0, 0, 1]])]),
        np.array([False, True, True]),
        SIZE,
        [SIZE] * 3,
    )
    assert np.isnan(none).all()
    for row in (blank, apart, correlations(nothing, [first], np.eye(3)[None], np.ones(1, bool), SIZE, [SIZE])[0]):
        assert row[:2].tolist() == [0, 0] and np.isnan(row[2:]).all()
    infinite = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0.0]])
    assert correlations(first, [first], infinite[None], np.ones(1, bool), SIZE, [SIZE])[0, 0] == 0
    assert set(MEANINGS) == set(NAMES)
