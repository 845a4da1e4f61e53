"""A Ray cluster: the same work on many machines. They share a file system and have Melascope installed."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from melascope.errors import MelascopeError, one_line


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give Ray, connected to a cluster, inside the block. What a worker raises leaves it as if it were raised here.

    Args:
        address: `HOST:PORT` of a cluster's head, `auto` for the one this machine belongs to, or `local` to start one
            of this machine alone.

    Raises:
        MelascopeError: if no cluster answers there.
    """
    import ray

    _reach(address)
    # Workers learn with the backend that is asked for here.
    variables = {name: os.environ[name] for name in ("KERAS_BACKEND",) if name in os.environ}
    try:
        ray.init(
            address,
            include_dashboard=False if address == "local" else None,
            runtime_env={"env_vars": variables},
            logging_level="ERROR",
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from error
    try:
        yield ray
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    finally:
        ray.shutdown()


def count(ray: Any, what: str) -> int:
    """How many of a resource, `CPU` or `GPU`, a cluster has."""
    return int(ray.cluster_resources().get(what, 0))


def _reach(address: str) -> None:
    """Try the port of a cluster's head: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> MelascopeError:
    return MelascopeError(
        f"no Ray cluster answers at {address} ({one_line(error)}); start one with: ray start --head"
    )
