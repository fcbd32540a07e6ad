"""Open models: read from and written to the layout of Hugging Face's libraries, one file a family."""

from __future__ import annotations

from .load import load_model as load_model
from .save import save_model as save_model
from .vocabulary import load_tokenizer as load_tokenizer
