"""Models on the Hugging Face Hub: a repository there is a model folder."""

import re
import tempfile
from pathlib import Path

from thirdaxis.atomic import write_folder
from thirdaxis.errors import InputError, UsageError
from thirdaxis.tasks.trained.files import CONFIG, INNER, WEIGHTS

# A pathlib.Path of hf://user/name has lost a slash.
HUB = re.compile(r"hf:/{1,2}(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def hub_name(path: str | Path) -> tuple[str, str | None] | None:
    """The repository and the revision that `hf://user/name@revision` names; none for a path.

    Raises:
        UsageError: it begins as a name on the hub, and is none.
    """
    text = str(path)
    found = HUB.fullmatch(text)
    if found is None and text.startswith("hf:"):
        raise UsageError(f"{text}: expected hf://user/name, or hf://user/name@revision")
    return None if found is None else (found["name"], found["revision"])


def fetched(name: tuple[str, str | None]) -> Path:
    """A model of the hub as a folder of this machine, downloaded where it is not there yet.

    Args:
        name: repository and revision (branch, tag or commit), the newest where it is none.

    Returns:
        A folder of the hub's cache with the configuration and the weights; nothing else is taken.

    Raises:
        InputError: no such repository or revision, or no connection and nothing in the cache.
    """
    repository, revision = name
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        place = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[
                inner + name for inner in ("", f"{INNER}/") for name in (CONFIG, WEIGHTS)
            ],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"hf://{repository}: cannot be fetched ({reason}); check the name and the connection, "
            "and for a private model log in with `hf auth login`"
        ) from error
    return Path(place)


def push(files: dict[str, bytes], name: str, *, private: bool = True) -> str:
    """Uploads a model to the hub, to a repository made where it is missing.

    Args:
        files: of the model folder, by name.
        name: `hf://user/name`.
        private: whether a new repository is seen by its owners alone.

    Returns:
        The address of the commit.

    Raises:
        UsageError: not such a name.
        InputError: the hub refuses, or cannot be reached.
    """
    found = hub_name(name)
    if found is None or found[1] is not None:
        raise UsageError(f"{name}: expected hf://user/name to push to")
    from huggingface_hub import HfApi

    api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), files)
        try:
            api.create_repo(found[0], private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=found[0], folder_path=folder, commit_message="Trained by thirdaxis"
            )
        except (ValueError, OSError) as error:  # of which the hub's own classes are
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{name}: cannot be pushed ({reason}); log in with `hf auth login`"
            ) from error
    return str(done)
