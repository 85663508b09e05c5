"""Passwords in URLs never reach a file or the screen."""

import pytest

from risjax.config import Config
from risjax.config.errors import ConfigError
from risjax.config.io import apply_overrides, differences, load_config, to_yaml
from risjax.config.secrets import mask

SECRET = "pa@ss:w/rd"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://ada:s3cret@host:5432/db", "postgresql://ada:***@host:5432/db"),
        ("postgresql+psycopg://ada:pa@ss:w/rd@host/db", "postgresql+psycopg://ada:***@host/db"),
        ("mysql://:s3cret@host/db", "mysql://:***@host/db"),
        ("postgresql://host/db?user=ada&password=s3cret&x=1", "postgresql://host/db?user=ada&password=***&x=1"),
        ("postgresql://host/db?sslkey=k.pem&sslpassword=s3cret", "postgresql://host/db?sslkey=k.pem&sslpassword=***"),
        ("mysql://host/db?ssl_key_password=s3cret", "mysql://host/db?ssl_key_password=***"),
        ("sqlite:///runs/study.db", "sqlite:///runs/study.db"),
        ("postgresql://ada@host/db", "postgresql://ada@host/db"),
        ("grpc://host:13000", "grpc://host:13000"),
    ],
)
def test_mask(url, masked):
    assert mask(url) == masked
    assert mask(masked) == masked


def test_no_password_in_yaml_in_differences_or_in_errors(write):
    write("a.yaml", "stages: [train]\n")
    url = f"search.storage=postgresql://ada:{SECRET}@host/db"
    config = load_config("a.yaml", [url])
    assert config.search.storage is not None
    assert SECRET in config.search.storage
    assert SECRET not in to_yaml(config)
    assert SECRET not in str(differences(config, Config(stages=("train",))))
    with pytest.raises(ConfigError) as caught:
        load_config("a.yaml", [url, f"train.epochs=postgresql://ada:{SECRET}@host/db", "nonsense"])
    assert SECRET not in str(caught.value)


def test_another_password_is_not_a_different_configuration():
    config = Config(stages=("train",))
    first = apply_overrides(config, {"search.storage": "postgresql://ada:one@host/db"})
    second = apply_overrides(config, {"search.storage": "postgresql://ada:two@host/db"})
    assert differences(first, second) == {}
