"""Physics of four elements, two antennas and four codes, for tests of scenes as data."""

from risjax.config import ArrayConfig, ChannelConfig, CodebookConfig, PhysicsConfig, SceneConfig

TINY = PhysicsConfig(
    array=ArrayConfig(num_horizontal=2, num_vertical=2),
    channel=ChannelConfig(num_antennas=2),
    codebook=CodebookConfig(num_snapshots=4),
    scene=SceneConfig(num_sources=(1, 3), max_sources=3),
)
