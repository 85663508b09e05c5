"""Pydantic: the metaclass of frozen models, which type checkers accept as hashable (pydantic 2).

Type checkers take a model whose ``model_config`` has ``frozen=True`` for a mutable one without hash: only the class
keyword ``frozen=True`` counts, and a subclass does not inherit it. A metaclass with ``frozen_default`` is inherited.
"""

from typing import TYPE_CHECKING, dataclass_transform

from pydantic import BaseModel, Field, PrivateAttr

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    @dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr))
    class FrozenModel(ModelMetaclass):
        """Pydantic's metaclass, with fields that are read-only to type checkers."""
else:
    FrozenModel = type(BaseModel)
