"""DINOv2 (Oquab et al., 2023) with register tokens (Darcet et al., 2023): an image as tokens."""

from networks.dinov2.vision_transformer import VisionTransformer

__all__ = ["VisionTransformer"]
