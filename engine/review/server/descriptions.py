"""The interface's own description (OpenAPI) as rows of a page."""

from __future__ import annotations

from typing import Any


def operations_of(described: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one entry for each request that can be made."""
    found = []
    for path, methods in described["paths"].items():
        for method, one in methods.items():
            fields = [
                {"name": p["name"], "required": p.get("required", False), **_type_and_text(p["schema"], p)}
                for p in one.get("parameters", [])
            ]
            for kind, content in one.get("requestBody", {}).get("content", {}).items():
                schema = _resolved(content["schema"], described)
                fields += _fields(schema) if kind != "application/json" or "properties" in schema else []
            answers = [code for code in one["responses"] if code.startswith("2")]
            content = one["responses"][answers[0]].get("content", {})
            schema = next(iter(content.values()))["schema"] if content else {}
            found.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "summary": one.get("summary", ""),
                    "text": " ".join(one.get("description", "").split()),
                    "parameters": fields,
                    "answer": _type_of(schema) or "a file",
                }
            )
    return found


def records_of(described: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one entry for each record that is sent or comes back."""
    schemas = described["components"]["schemas"]
    hidden = ("HTTPValidationError", "ValidationError")
    return [
        {"name": name, "text": " ".join(schema.get("description", "").split()), "fields": _fields(schema)}
        for name, schema in schemas.items()
        if name not in hidden and not name.startswith("Body_")
    ]


def _fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    needed = schema.get("required", [])
    return [
        {"name": name, "required": name in needed, **_type_and_text(one, one)}
        for name, one in schema.get("properties", {}).items()
    ]


def _type_and_text(schema: dict[str, Any], described: dict[str, Any]) -> dict[str, str]:
    return {"type": _type_of(schema), "text": described.get("description", "")}


def _resolved(schema: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _type_of(schema: dict[str, Any]) -> str:
    """Return a type in words: "list of string", a record's name, the words that are allowed."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return ", ".join(str(value) or "nothing" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type_of(one) for one in schema["anyOf"])
    kind = str(schema.get("type", ""))
    if kind == "array":
        return f"list of {_type_of(schema.get('items', {})) or 'values'}"
    if kind == "null":
        return "nothing"
    return "file" if schema.get("contentMediaType") or schema.get("format") == "binary" else kind
