"""The models that people bring: public architectures written from their papers, small, with random weights."""

from __future__ import annotations

from .attention import ATTENTION
from .audio import AUDIO
from .dense import DENSE
from .images import IMAGES

DOMAINS = {
    "Pictures": IMAGES,
    "Objects, and pictures of pictures": DENSE,
    "Sound and signals": AUDIO,
    "Attention and graphs": ATTENTION,
}
MODELS = {name: model for models in DOMAINS.values() for name, model in models.items()}
