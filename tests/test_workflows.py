"""The hosted workflow against a schema of GitHub's workflow syntax, and the Pythons that it promises."""

import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

TEXT = {"type": "string", "minLength": 1}
VALUES = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
STEP = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("id", "name", "uses", "run", "shell", "working-directory"), TEXT),
        "if": {"type": ["string", "boolean"]},
        "with": VALUES,
        "env": VALUES,
        "timeout-minutes": {"type": "integer"},
        "continue-on-error": {"type": "boolean"},
    },
    "oneOf": [{"required": ["uses"]}, {"required": ["run"]}],
    "additionalProperties": False,
}
MATRIX = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array", "minItems": 1}}
JOB = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "runs-on": TEXT,
        "needs": {"type": ["string", "array"]},
        "if": {"type": ["string", "boolean"]},
        "env": VALUES,
        "timeout-minutes": {"type": "integer", "minimum": 1},
        "strategy": {
            "type": "object",
            "properties": {"fail-fast": {"type": "boolean"}, "max-parallel": {"type": "integer"}, "matrix": MATRIX},
            "required": ["matrix"],
            "additionalProperties": False,
        },
        "steps": {"type": "array", "minItems": 1, "items": STEP},
    },
    "required": ["runs-on", "steps"],
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "on": {"type": ["string", "array", "object"]},
        "permissions": {"type": ["string", "object"]},
        "concurrency": {"type": ["string", "object"]},
        "env": VALUES,
        "jobs": {"type": "object", "minProperties": 1, "patternProperties": {"^[A-Za-z_][A-Za-z0-9_-]*$": JOB}},
    },
    "required": ["on", "jobs"],
    "additionalProperties": False,
}


def read(path: Path) -> dict:
    """A workflow; YAML 1.1 reads its key ``on`` as true."""
    workflow = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in workflow.items()}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_workflow_fits_the_schema(path: Path):
    jsonschema.validate(read(path), SCHEMA)


@pytest.mark.parametrize(
    "step", [{"run": "pytest", "uses": "actions/checkout@v4"}, {"name": "nothing"}, {"runs": "pytest"}, {"run": 3}]
)
def test_a_wrong_step_is_found(step: dict):
    workflow = {"on": "push", "jobs": {"test": {"runs-on": "ubuntu-latest", "steps": [step]}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(workflow, SCHEMA)


def test_every_python_of_the_classifiers_is_tested():
    matrix = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    prefix = "Programming Language :: Python :: "
    assert matrix["python"] == [name.removeprefix(prefix) for name in classifiers if name.startswith(prefix)]
    assert any(entry["os"].startswith("macos") for entry in matrix["include"])
