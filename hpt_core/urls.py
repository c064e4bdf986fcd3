"""Open what a URL names: an object store, or any other file system that fsspec knows."""

from typing import Any

from hpt_core.errors import ConfigError

EXTRAS = {"s3": "pip install 'hpt-pipelines[s3]'", "s3a": "pip install 'hpt-pipelines[s3]'"}
"""Protocol -> command that installs its client."""


def open_url(url: str, endpoint_url: str | None = None, **options: Any) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path on it without a slash at its end. Connects to nothing.

    `endpoint_url` is the address of an S3-compatible store; `options` are arguments of the file system. Listings are
    not cached, because a cached one hides what another machine has written. Raises ConfigError.
    """
    import fsspec

    if endpoint_url is not None:
        options["client_kwargs"] = {"endpoint_url": endpoint_url}
    try:
        system, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
    except ImportError as error:
        remedy = EXTRAS.get(url.partition(":")[0], "install the package that the message names")
        raise ConfigError(f"the client for {url} is not installed ({error})", remedy) from error
    except ValueError as error:
        raise ConfigError(f"cannot open {url}: {error}", "give a URL that fsspec knows, s3://...") from error
    return system, root.rstrip("/")


def require_no_credentials(url: str) -> None:
    """Raise ConfigError for a URL that holds a user or a password, which logs and records would then show."""
    if "@" in url:
        scheme = url.partition("://")[0]
        raise ConfigError(
            f"{scheme}://***@{url.rpartition('@')[2]} holds credentials",
            "remove them, and set them in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE ...)",
        )
