"""Tensors and plain values in a safetensors file: nothing in it is ever executed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_cluster.embedding.autoencoder.devices import require_safetensors
from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ENDING", "check_place", "read_header", "read_shapes", "read_tensors", "write_tensors"]

ENDING = ".safetensors"
_KEY = "astro_cluster"
_FORMAT = 1


def check_place(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the path of a file that is to be written, if it can be.

    Parameters
    ----------
    path : str or path
        Where to.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    path

    Raises
    ------
    InputError
        If its ending is another, its folder is not there, or the file is and must not be replaced.

    Examples
    --------
    >>> check_place("model.safetensors", overwrite=True).name
    'model.safetensors'
    """
    path = Path(path)
    if path.suffix != ENDING:
        raise InputError(f"{path} cannot hold a network; give it the ending {ENDING}")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give overwrite=True to replace it")
    return path


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and plain values beside the file, and move them there once they are whole.

    Parameters
    ----------
    path : path
        Where to; replaced if it is there.
    tensors : mapping of str to tensor
        What to write.
    header : mapping
        What JSON can keep.

    Raises
    ------
    InputError
        If the disk refuses; an old file stays as it was.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> write_tensors(Path("a.safetensors"), {"x": torch.zeros(2)}, {"kind": "model"})  # doctest: +SKIP
    """
    library = require_safetensors()
    text = json.dumps({"format": _FORMAT, **header})
    path = path.resolve()
    new: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=ENDING)
        os.close(handle)
        new = Path(name)
        library.save_file(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, new, metadata={_KEY: text}
        )
        with new.open("rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, new)
        else:
            new.chmod(0o666 & ~_umask())
        new.replace(path)
    except (OSError, _error()) as error:
        raise InputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        if new is not None:
            new.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _error() -> type[Exception]:
    from safetensors import SafetensorError

    return SafetensorError


@contextlib.contextmanager
def _opened(path: Path) -> Any:
    require_safetensors()
    from safetensors import safe_open

    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, _error(), ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no safetensors file, or it is cut short: {error}") from error


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the plain values of a file that `write_tensors` wrote.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If it is no such file, is cut short, or was written by a later version.

    Examples
    --------
    >>> read_header("a.safetensors")["kind"]  # doctest: +SKIP
    'model'
    """
    path = Path(path)
    with _opened(path) as file:
        text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise InputError(
            f"{path} is a safetensors file, but none of astro_cluster: it does not say what it holds"
        )
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged: what it says of its network cannot be read ({error})"
        ) from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int):
        raise InputError(f"{path} is damaged: it does not say in what format it is")
    if header["format"] > _FORMAT:
        raise InputError(
            f"{path} was written by a later version of astro_cluster; update: pip install -U astro_cluster"
        )
    return header


def read_shapes(path: str | os.PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a file, without reading them.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    dict of str to tuple of int

    Raises
    ------
    InputError
        If it is no safetensors file or is cut short.

    Examples
    --------
    >>> read_shapes("a.safetensors")  # doctest: +SKIP
    {'x': (2,)}
    """
    with _opened(Path(path)) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the tensors of a file, on the processor.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    dict of str to tensor

    Raises
    ------
    InputError
        If it is no safetensors file or is cut short.

    Examples
    --------
    >>> read_tensors("a.safetensors")["x"].shape  # doctest: +SKIP
    torch.Size([2])
    """
    with _opened(Path(path)) as file:
        # A copy: what is read stays in a map of the file otherwise, which may be replaced meanwhile.
        return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
