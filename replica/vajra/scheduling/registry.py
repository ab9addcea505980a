"""Implementations by the class of their configuration: a new scheduler or prioritizer registers and is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a config class to the implementation that takes an instance of it as first argument."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._factories: dict[type[Any], Callable[..., T]] = {}

    def register(self, config_class: type[Any]) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Decorates the implementation for `config_class`."""

        def decorate(factory: Callable[..., T]) -> Callable[..., T]:
            if config_class in self._factories:
                raise ValueError(f"{config_class.__name__} has a {self._kind} already")
            self._factories[config_class] = factory
            return factory

        return decorate

    def create(self, config: Any, *args: Any, **kwargs: Any) -> T:
        """The implementation for `config`. Raises NotImplementedError naming what there is."""
        factory = self._factories.get(type(config))
        if factory is None:
            known = ", ".join(sorted(c.__name__ for c in self._factories))
            raise NotImplementedError(
                f"no {self._kind} is implemented for {type(config).__name__}; implemented are: {known}"
            )
        return factory(config, *args, **kwargs)

    def supports(self, config: Any) -> bool:
        """Whether `create` would find an implementation."""
        return type(config) in self._factories
