"""The animal's own coordinates: there and back, straightening, flanks, and what has no body."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from features.body_frame import BodyFrame, body_frame_of, find_body_frame, flank_of
from features.records import Frame, Regions

HEIGHT, WIDTH = 400, 160


def bent_body(bend: float = 30.0, half: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the (H, W) mask of a bent body between the rows 40 and 360, and the x of its middle in every row."""
    rows = np.arange(HEIGHT)
    middle = WIDTH / 2 + bend * (((rows - HEIGHT / 2) / 160.0) ** 2 - 0.5)
    columns = np.arange(WIDTH)[None]
    inside = (np.abs(columns - middle[:, None]) <= half) & ((rows >= 40) & (rows <= 360))[:, None]
    return inside.astype(np.float32), middle


@pytest.mark.parametrize("flank", [-1, 0, 1])
@pytest.mark.parametrize("lying", [False, True])
def test_there_and_back_is_exact_also_beyond_the_body(flank: int, lying: bool) -> None:
    mask, _ = bent_body()
    frame = body_frame_of(mask.T if lying else mask, flank)
    assert frame.lying == lying
    points = np.random.default_rng(0).uniform(-30, 430, (200, 2)).astype(np.float32)
    np.testing.assert_allclose(frame.to_canonical(frame.to_body(points)), points, atol=0.02)


def test_the_middle_is_0_the_sides_are_1_and_the_ends_0_and_1() -> None:
    mask, middle = bent_body()
    frame = body_frame_of(mask)
    rows = np.array([60, 200, 330])
    found = frame.to_body(np.stack([middle[rows], rows], 1))
    np.testing.assert_allclose(found[:, 1], 0, atol=0.03)
    sides = frame.to_body(np.stack([middle[rows] + 40, rows], 1))
    np.testing.assert_allclose(sides[:, 1], 1, atol=0.05)
    ends = frame.to_body([[80, 40], [80, 360]])
    np.testing.assert_allclose(ends[:, 0], [0, 1], atol=1e-6)
    assert frame.length > 320  # a bent line is longer than its rows


def test_along_does_not_depend_on_the_crop() -> None:
    mask, middle = bent_body()
    whole = body_frame_of(mask)
    shifted = body_frame_of(np.pad(mask, ((50, 0), (20, 0))))
    points = np.stack([middle[[80, 200, 300]] + 10, [80, 200, 300]], 1)
    np.testing.assert_allclose(shifted.to_body(points + np.array([20, 50])), whole.to_body(points), atol=0.01)


def test_a_bent_body_is_laid_straight_and_its_marks_fall_within_a_pixel() -> None:
    mask, middle = bent_body()
    rows = [80, 150, 220, 300]
    image = np.zeros((HEIGHT, WIDTH), np.float32)
    for row in rows:
        cv2.circle(image, (round((middle[row] + 15) * 16), row * 16), 3 * 16, 1.0, -1, cv2.LINE_AA, 4)
    frame = body_frame_of(mask)
    size = (81, 320)
    straight = frame.straighten(image, size)
    assert straight.shape == (320, 81)
    along = frame.to_body(np.stack([middle[rows] + 15, rows], 1))
    for place in along:
        x, y = (place[1] + 1) / 2 * size[0] - 0.5, place[0] * size[1] - 0.5
        window = straight[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7]
        v, u = np.mgrid[-6:7, -6:7]
        centre = np.array([(u * window).sum(), (v * window).sum()]) / window.sum() + [round(x), round(y)]
        np.testing.assert_allclose(centre, [x, y], atol=1.0)
        assert abs(x - (0.5 + 15 / 80) * size[0] + 0.5) < 2.5  # a straight line of marks, though the body is bent


@pytest.mark.parametrize("flank", [-1, 0, 1])
def test_a_body_between_two_columns_is_cut_out_to_the_half_pixel(flank: int) -> None:
    frame = BodyFrame(np.array([0.0, 99.0]), np.full(2, 10.0), np.full(2, 50.0), flank)
    x, y = np.meshgrid(np.arange(60, dtype=np.float32), np.arange(100, dtype=np.float32))
    straight = frame.straighten(np.dstack([x, y]), (40, 99))
    # 40 pixels from x = 10 to 50, and 99 rows from y = 0 to 99: every pixel in the middle of its share.
    np.testing.assert_allclose(straight[:, :, 0], np.broadcast_to(np.arange(40) + 10.5, (99, 40)), atol=0.05)
    np.testing.assert_allclose(straight[:, :, 1], np.broadcast_to(np.arange(99)[:, None] + 0.5, (99, 40)), atol=0.05)


def test_a_flank_reaches_from_the_ridge_to_its_own_side() -> None:
    mask, middle = bent_body(bend=0)
    points = [[middle[200] + 40, 200], [middle[200] - 40, 200]]
    left, right = body_frame_of(mask, -1).to_body(points), body_frame_of(mask, 1).to_body(points)
    np.testing.assert_allclose(left[:, 1], [0, -1], atol=0.03)
    np.testing.assert_allclose(right[:, 1], [1, 0], atol=0.03)
    assert flank_of("left") == -1 and flank_of("right") == 1 and flank_of("top") == flank_of(None) == 0


def test_a_lateral_view_is_turned_so_that_its_ridge_lies_where_a_view_from_above_has_it() -> None:
    # Published laterals show the head to the left on a left flank: the back is the upper edge of the photograph.
    body = np.zeros((80, 200), np.float32)
    body[20:60, 20:180] = 1
    regions = Regions(body, np.zeros_like(body), 0.4, 1.0)
    from features.photo import canonical_frame

    for view in ("left", "right"):
        frame = canonical_frame((200, 80), view)
        found = find_body_frame(regions, frame, view)
        back, belly = frame.to_canonical([[100, 20], [100, 59]])
        across = found.to_body([back, belly])[:, 1]
        assert abs(across[0]) < 0.06
        assert abs(across[1] - flank_of(view)) < 0.06


def test_no_body_is_the_whole_crop() -> None:
    frame = body_frame_of(np.zeros((100, 40), np.float32))
    assert not frame.seen
    np.testing.assert_allclose(frame.to_body([[0, 0], [39, 99], [19.5, 49.5]]), [[0, -1], [1, 1], [0.5, 0]], atol=1e-6)


def test_the_store_s_array_gives_the_same_frame_back() -> None:
    for frame in (body_frame_of(bent_body()[0], 1), body_frame_of(bent_body()[0].T), body_frame_of(np.zeros((9, 9)))):
        again = BodyFrame.from_array(frame.to_array())
        assert (again.flank, again.lying, again.seen) == (frame.flank, frame.lying, frame.seen)
        points = np.random.default_rng(1).uniform(0, 90, (20, 2))
        np.testing.assert_allclose(again.to_body(points), frame.to_body(points), atol=1e-3)


def test_a_turned_photograph_gives_the_frame_of_the_head_up_one() -> None:
    mask, _ = bent_body()
    turned = np.ascontiguousarray(np.rot90(mask, -1))
    regions = Regions(turned, np.zeros_like(turned), 0.5, 1.0)
    found = find_body_frame(regions, Frame((HEIGHT, WIDTH), 1))
    np.testing.assert_allclose(found.to_array(), body_frame_of(mask).to_array(), atol=1e-3)
