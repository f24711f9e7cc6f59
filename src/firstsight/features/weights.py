"""What each library gives, and what is said where it gives nothing."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse

import torch
from torch import nn

from firstsight.errors import InputError, did_you_mean
from firstsight.features.preparation import Preparation


@dataclass(frozen=True)
class Found:
    """A network without its classifier.

    Attributes:
        name: in its library, with the name of its weights, so that it is the same tomorrow.
        network: from [b, 3, h, w] to [b, v].
        preparation: of its pictures.
    """

    name: str
    network: nn.Module
    preparation: Preparation


def package(module: str, extra: str, wanted: str) -> Any:
    """A library that only some need.

    Args:
        module: what is imported.
        extra: of firstsight, that installs it.
        wanted: what for, as in `backbone timm:resnet18`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{wanted} must have the package {module}; got an installation without it; "
            f"pip install 'firstsight[{extra}]'"
        ) from error


def check_known(name: str, known: Collection[str], what: str) -> None:
    """Refuse a name that is not known, and suggest the nearest."""
    if name not in known:
        hint = did_you_mean(name, known) or f"; there are {len(known)}, such as {sorted(known)[0]!r}"
        raise InputError(f"unknown {what} {name!r}{hint}")


def hub_place(source: str) -> tuple[str, str]:
    """What is looked for, and where, by the libraries that load from the Hugging Face hub.

    Args:
        source: `owner/name` there, or the address of a file elsewhere.
    """
    if "://" in source:
        return source.rsplit("/", 1)[-1], str(Path(torch.hub.get_dir()) / "checkpoints")
    cache = importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE
    return f"the folder models--{source.replace('/', '--')} of a machine that has it", cache


@contextmanager
def from_cache(of: str, file: str, folder: str) -> Iterator[None]:
    """What a library raises where its weights are not in its cache and cannot be fetched becomes one sentence.

    Args:
        of: whose weights.
        file: that is looked for.
        folder: where it belongs.
    """
    quiet = logging.root.manager.disable
    logging.disable(logging.ERROR)  # which would come before the sentence
    try:
        with contextlib.redirect_stdout(sys.stderr):  # downloads announce themselves
            yield
    except InputError:  # a sentence already
        raise
    except Exception as error:  # each library has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, HTTPError):  # an answer, which is read no further
            error.close()
        short = reason if len(reason) <= 160 else reason[:157] + "..."
        raise InputError(
            f"weights of {of} must be in {folder} or within reach of the network; got {short}; put {file} there"
        ) from error
    finally:
        logging.disable(quiet)


@contextmanager
def from_torch_hub(of: str, url: str) -> Iterator[None]:
    """`from_cache` for weights in the cache of `torch.hub`, which does not look at a file again once it has it.

    Args:
        of: whose weights.
        url: they come from; its last part is the file's name.
    """
    folder, name = Path(torch.hub.get_dir()) / "checkpoints", Path(urlparse(url).path).name
    with from_cache(of, name, str(folder)):
        check_sha256(of, folder / name)
        yield


def check_sha256(of: str, file: Path) -> None:
    """A file whose name ends in the first digits of its sha256, as in `alexnet-owt-7be5be79.pth`, is that file.

    A file that is not there, or whose name promises nothing, passes.

    Args:
        of: whose weights.
        file: where they are or will be.
    """
    promised = re.search(r"-([0-9a-f]{8,64})\.", file.name)
    if promised is None or not file.exists():
        return
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if not found.startswith(promised[1]):
        raise InputError(
            f"weights of {of} must have a sha256 that begins with {promised[1]}; got {found[: len(promised[1])]} "
            f"from {file}, which is damaged; delete it and run again"
        )


@contextmanager
def same_random_weights() -> Iterator[None]:
    """Seed 0 for a network that is made, and the caller's random state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def without_last_linear(network: nn.Module, name: str) -> nn.Module:
    """The network up to its classifier: the last linear layer becomes the identity."""
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"backbone must end in a linear classifier; got {name}, which does not")
    network.set_submodule(linear[-1], nn.Identity())
    return network
