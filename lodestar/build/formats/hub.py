"""Models on the Hugging Face hub, by way of `huggingface_hub` and its cache."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ...contracts.errors import UserError, missing_extra

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_SMALL = ["*.json", "*.txt", "*.jinja", "*.model", "*.spm", "LICEN[CS]E*", "NOTICE*"]
_WEIGHTS = ["model*.safetensors"]
"""No pickles; and not the `consolidated.safetensors` that some models hold a second time."""


def resolve(
    source: str | Path, revision: str | None = None, *, weights: bool = True, accept: Callable[[Path], object] | None = None
) -> tuple[Path, str | None]:
    """The folder of a model, downloaded where it is not yet, and its commit; (the folder, None) for one of the disk.

    A text that names an existing folder or file, or looks like a path, is one; any other is an id.

    Args:
        weights: whether they are needed, too.
        accept: refuses, with a UserError, a folder that has all but the weights.

    Raises:
        UserError: there is no such model, or it cannot be reached.
    """
    if isinstance(source, Path) or Path(source).expanduser().exists() or not _ID.fullmatch(source):
        if revision is not None:
            raise UserError("a folder has no revision", where=source, fix="leave the revision out, or name a model on the hub")
        return Path(source).expanduser(), None
    return _download(source, revision, weights, accept)


def _download(name: str, revision: str | None, weights: bool, accept: Callable[[Path], object] | None) -> tuple[Path, str]:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise missing_extra("huggingface_hub", "hub", why=f"no folder is named {name!r}, and reading it from the hub") from None
    try:
        # What is small first: a model that cannot be read is refused before its weights come.
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=_SMALL))
        commit = folder.name  # the cache keeps each commit in a folder of its name
        if accept is not None:
            accept(folder)
        if weights:
            folder = Path(huggingface_hub.snapshot_download(name, revision=commit, allow_patterns=[*_SMALL, *_WEIGHTS]))
    except errors.GatedRepoError:
        fix = f"ask for it at https://huggingface.co/{name} and log in with: hf auth login"
        raise UserError("the model asks who you are", where=name, fix=fix) from None
    except errors.RepositoryNotFoundError:
        raise UserError("no folder and no model on the hub has this name", where=name, fix="check the name") from None
    except errors.RevisionNotFoundError:
        raise UserError(f"the model has no revision {revision!r}", where=name, fix="name a branch, tag or commit of it") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        what = "no folder has this name, and the model is not in the hub's cache, which alone can be read now"
        raise UserError(what, where=name, fix="check the name, or download it once with the network on and HF_HUB_OFFLINE unset") from None
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        what = f"the hub cannot be read ({str(error).splitlines()[0]})"
        raise UserError(what, where=name, fix="check the name and the network, and try again") from None
    return folder, commit
