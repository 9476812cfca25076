"""JSON Schemas of our models as OpenAPI 3.1 wants them: shared ones by name, and nothing in them that says nothing."""

from typing import Any

from pydantic import BaseModel

_REF = "#/components/schemas/{model}"


class Schemas:
    """The named schemas of one document, collected while it is built."""

    def __init__(self) -> None:
        self.named: dict[str, dict[str, Any]] = {}

    def ref(self, model: type[BaseModel]) -> dict[str, Any]:
        """A reference to the model's schema.

        Raises:
            ValueError: another model of the same name has been named before.
        """
        self._add({model.__name__: self._take(model)})
        return {"$ref": _REF.format(model=model.__name__)}

    def fields(self, model: type[BaseModel]) -> dict[str, dict[str, Any]]:
        """Field name → its schema, written out."""
        properties = self._take(model).get("properties", {})
        told = {}
        for name, field in model.model_fields.items():
            title = field.title or name.strip("_").replace("_", " ").capitalize()
            told[field.alias or name] = {"title": title, **properties[field.alias or name]}
        return told

    def _take(self, model: type[BaseModel]) -> dict[str, Any]:
        schema: dict[str, Any] = _plain(model.model_json_schema(ref_template=_REF))
        others = schema.pop("$defs", {})
        for one in (schema, *others.values()):
            for untitled in (one, *one.get("properties", {}).values()):
                untitled.pop("title", None)  # pydantic's, made of the name
        self._add(others)
        return schema

    def _add(self, schemas: dict[str, Any]) -> None:
        for name, schema in schemas.items():
            if self.named.setdefault(name, schema) != schema:
                raise ValueError(f"two models are called {name!r}; the document needs a name for each")


def _plain(schema: Any) -> Any:
    """Without `default: null`, which stands for an absent key; `type: [x, null]` for a choice of the two."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(part) for name, part in schema.items() if not (name == "default" and part is None)}
    match plain.get("anyOf"):
        case [{"type": str(kind), **rest}, {"type": "null", **nothing}] if not nothing and "enum" not in rest:
            del plain["anyOf"]
            plain |= {"type": [kind, "null"], **rest}
    return plain
