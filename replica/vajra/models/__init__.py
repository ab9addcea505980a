"""Models: references, configurations, weights and tokenizers.

`resolve` tells what a model is, `load` reads its weights too, `load_tokenizer` builds its tokenizer; `pull` and
`list_models` keep the local store. Everything that can be wrong with a model is a ModelError.
"""

from vajra.models.cache import Progress, cache_dir
from vajra.models.chat_template import ChatTemplateError
from vajra.models.detokenizer import IncrementalDetokenizer
from vajra.models.embedded import DEFAULT_MODEL
from vajra.models.errors import ModelError
from vajra.models.loading import LoadedModel, ResolvedModel, load, load_resolved, resolve
from vajra.models.spec import ModelSpec, RopeSpec
from vajra.models.store import StoredModel, list_models, pull
from vajra.models.tensor import Tensor, WeightSource
from vajra.models.tokenizer import Tokenizer
from vajra.models.tokenizer_loading import load_tokenizer

__all__ = [
    "DEFAULT_MODEL",
    "ChatTemplateError",
    "IncrementalDetokenizer",
    "LoadedModel",
    "ModelError",
    "ModelSpec",
    "Progress",
    "ResolvedModel",
    "RopeSpec",
    "StoredModel",
    "Tensor",
    "Tokenizer",
    "WeightSource",
    "cache_dir",
    "list_models",
    "load",
    "load_resolved",
    "load_tokenizer",
    "pull",
    "resolve",
]
