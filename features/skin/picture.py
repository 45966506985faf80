"""The skin as a picture: lightness flattened at three scales, of one size for all animals, as correlation compares it.

Descriptors say what a place looks like in general; whether two places show the same skin, line by line, only the pixels
can tell. Light is taken out as for the networks (:func:`features.regions.flatten`), at finer scales than theirs.
"""

from __future__ import annotations

import numpy as np

from features.global_descriptor.network_input import body_picture, flattened_layers, network_picture
from features.records import ByteArray, Frame, Photo, Regions

#: Part of the fingerprint; raised whenever the same photograph would give another picture.
CODE_VERSION = 1

#: (width, height) in pixels, head up. Twice as many tell nobody more, two thirds as many tell less.
SIZE = (96, 264)
#: Standard deviations of the flattening windows, shares of the height: coarse, middle and fine.
SCALES = {"coarse": 0.025, "middle": 0.01, "fine": 0.006}
#: Level of a pixel that is as light as its surroundings. Seen skin takes the levels 1 to 255.
NEUTRAL = 128
#: Level of what shows no skin.
UNSEEN = 0


def flattened_skin(photo: Photo, frame: Frame, regions: Regions) -> ByteArray:
    """Return the skin of a photograph, flattened at :data:`SCALES`, head up and of :data:`SIZE`.

    Args:
        photo: the photograph.
        frame: its turn to the head-up frame.
        regions: body on the photograph's grid.

    Returns:
        (height, width, scales) uint8, :data:`NEUTRAL` for the local mean, :data:`UNSEEN` off the body.
    """
    body = body_picture(regions, frame, SIZE) > 127
    layers = flattened_layers(network_picture(photo, frame, SIZE), body, SCALES.values())
    return np.asarray((1 + np.rint(layers * np.float32(254))) * body[:, :, None], np.uint8)
