"""The embedded model in PyTorch alone, for edits.

Importing diffusers and transformers takes longer than an edit. What they give to a finished model of known networks is
little: its parameters under their names, and a step of DDIM. So the model that ships is read and run here without them,
to the same bits; every other model, and training, goes by :class:`~instaface.diffusion.pipeline.InstaFacePipeline`.
"""

from instaface.diffusion.light.model import LightModel

__all__ = ["LightModel"]
