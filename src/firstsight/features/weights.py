"""Shared by the backbone loaders: the loaded network, and errors for missing packages and weights."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import re
import sys
import warnings
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
from firstsight.features.backbone import Preparation


@dataclass(frozen=True)
class LoadedNetwork:
    """A network without its classifier."""

    name: str  # in its library, with the name of its weights, so that it always means the same network
    network: nn.Module  # from pictures [b, 3, h, w] to features [b, v]
    preparation: Preparation  # of the pictures that it takes


def package(module: str, extra: str, wanted: str) -> Any:
    """Import an optional library that `wanted` needs, or raise InputError with the extra that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{wanted} must have the package {module}; got an installation without it; "
            f"pip install 'firstsight[{extra}]'"
        ) from error


def check_known(name: str, known: Collection[str], what: str) -> None:
    """Raise InputError for an unknown name, with the most similar known one."""
    if name not in known:
        hint = did_you_mean(name, known) or f"; there are {len(known)}, such as {sorted(known)[0]!r}"
        raise InputError(f"unknown {what} {name!r}{hint}")


def hub_place(source: str) -> tuple[str, str]:
    """Return the file and the folder where libraries look for weights of `owner/name` on the hub, or of a URL."""
    if "://" in source:
        return source.rsplit("/", 1)[-1], str(Path(torch.hub.get_dir()) / "checkpoints")
    cache = importlib.import_module("huggingface_hub.constants").HF_HUB_CACHE
    return f"the folder models--{source.replace('/', '--')} of a machine that has it", cache


@contextmanager
def from_cache(of: str, file: str, folder: str) -> Iterator[None]:
    """Turn the errors of a library that can neither find weights nor download them into an InputError.

    Args:
        of: name of the network.
        file: with its weights.
        folder: where the library looks for it.
    """
    quiet = logging.root.manager.disable
    logging.disable(logging.ERROR)  # libraries also log what the InputError says
    try:
        with contextlib.redirect_stdout(sys.stderr):  # downloads announce themselves
            yield
    except InputError:
        raise
    except Exception as error:  # each library raises its own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, HTTPError):  # it holds an open connection
            error.close()
        short = reason if len(reason) <= 160 else reason[:157] + "..."
        raise InputError(
            f"weights of {of} must be in {folder} or within reach of the network; got {short}; put {file} there"
        ) from error
    finally:
        logging.disable(quiet)


@contextmanager
def from_torch_hub(of: str, url: str) -> Iterator[None]:
    """Do as `from_cache` for weights in the cache of `torch.hub`, and check their sha256, which it does not."""
    folder, name = Path(torch.hub.get_dir()) / "checkpoints", Path(urlparse(url).path).name
    with from_cache(of, name, str(folder)):
        check_sha256(of, folder / name)
        yield


def check_sha256(of: str, file: Path) -> None:
    """Refuse a damaged file whose name ends in the first digits of its sha256, as in `alexnet-owt-7be5be79.pth`.

    A file that does not exist, or whose name has no such digits, passes.
    """
    expected = re.search(r"-([0-9a-f]{8,64})\.", file.name)
    if expected is None or not file.exists():
        return
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if not found.startswith(expected[1]):
        raise InputError(
            f"weights of {of} must have a sha256 that begins with {expected[1]}; got {found[: len(expected[1])]} "
            f"from {file}, which is damaged; delete it and run again"
        )


@contextmanager
def same_random_weights() -> Iterator[None]:
    """Build a network with seed 0 and without warnings, and restore the random state of the caller afterwards."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no weights were loaded, or that other versions draw other ones
        torch.manual_seed(0)
        yield


def without_last_linear(network: nn.Module, name: str) -> nn.Module:
    """Replace the last linear layer of a network, its classifier, by the identity."""
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"backbone must end in a linear classifier; got {name}, which does not")
    network.set_submodule(linear[-1], nn.Identity())
    return network
