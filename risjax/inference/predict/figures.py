"""Figure of an estimated scene: in space, in direction and in range, each source with two standard deviations."""

import numpy as np

from risjax.config import PhysicsConfig
from risjax.inference.predict.localization import Localization
from risjax.report.drawing import Drawing
from risjax.report.figures import Points, scene_view

_METHOD = "learned_ml"


def scene_drawing(found: Localization, scene: int, physics: PhysicsConfig) -> Drawing:
    """The figure of one scene.

    Args:
        found: its sources, without a leading axis.
        scene: its index, for the name and the title.
        physics: field of view and largest range.
    """
    sources = Points(found.position[found.active], found.std[found.active])
    law = physics.scene
    likely = ", ".join(f"{probability:.2f}" for probability in found.existence[found.active])
    return scene_view(
        Points(np.zeros((0, 3))),
        {_METHOD: sources},
        name=f"scene_{scene:06d}",
        title=f"Scene {scene}",
        caption=f"{int(found.count)} sources with existence probability {likely or 'none'}.",
        max_range_m=law.range_m[1],
        field_of_view_deg=(law.azimuth_deg, law.elevation_deg),
    )
