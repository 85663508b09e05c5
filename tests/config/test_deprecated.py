"""Settings of earlier versions: dropped where they were off, moved where renamed, else refused with a reason."""

import pytest

from risjax.config import upgrade
from risjax.config.deprecated import DEPRECATED, Removed, RemovedChoice, RemovedNull, Renamed, RenamedChoice
from risjax.config.errors import ConfigError, setting_paths
from risjax.config.io import apply_overrides, from_yaml, load_config, to_tree, to_yaml
from risjax.config.root import Config
from risjax.config.weights import RELEASED
from risjax.config.yaml12 import write_yaml

OFF = [(name, action) for name, action in DEPRECATED.items() if isinstance(action, Removed)]


def nested(name: str, value: object) -> str:
    """``a.b: value`` as YAML on one line."""
    head, _, rest = name.partition(".")
    return f"{head}: {{{nested(rest, value)}}}" if rest else f"{head}: {value}"


def at(action: Removed, value: object) -> object:
    return value if action.switch is None else f"{{{action.switch}: {value}, other: 3}}"


def test_every_old_path_is_unknown_to_the_schema_and_every_new_one_is_known():
    known = {".".join(path) for path in setting_paths(Config)}
    for name, action in DEPRECATED.items():
        assert (name in known) == isinstance(action, RemovedChoice | RemovedNull | RenamedChoice), name
        assert not isinstance(action, Renamed) or action.to in known, action.to


@pytest.mark.parametrize(("name", "action"), OFF)
def test_a_removed_setting_is_dropped_at_the_value_that_switched_it_off(write, name, action):
    text = f"stages: [train]\n{nested(name, at(action, action.off))}\n"
    write("a.yaml", text)
    plain = apply_overrides(Config(stages=("train",)), {"run.directory": "runs/a"})
    assert load_config("a.yaml") == plain
    assert from_yaml(text) == Config(stages=("train",))
    switch = name if action.switch is None else f"{name}.{action.switch}"
    assert load_config("a.yaml", [f"{switch}={action.off}"]) == plain
    assert apply_overrides(plain, {switch: action.off}) == plain


@pytest.mark.parametrize(("name", "action"), OFF)
def test_a_removed_setting_at_another_value_is_one_error_with_the_reason(write, name, action):
    text = f"stages: [train]\n{nested(name, at(action, 0.37))}\n"
    switch = name if action.switch is None else f"{name}.{action.switch}"
    write("a.yaml", text)
    with pytest.raises(ConfigError) as in_file:
        load_config("a.yaml")
    write("b.yaml", "stages: [train]\n")
    with pytest.raises(ConfigError) as in_override:
        load_config("b.yaml", [f"{switch}=0.37"])
    with pytest.raises(ConfigError) as in_run:
        from_yaml(text)
    for problem, place in ((in_file, "a.yaml:2"), (in_override, f"{switch}=0.37"), (in_run, "")):
        (found,) = problem.value.problems
        assert (found.path, found.origin) == (switch, place)
        assert found.text == f"got 0.37, expected {action.off}: {action.reason}"


def test_lengths_of_phases_are_dropped_with_weights_that_do_not_change(write):
    text = "stages: [train]\nloss: {alignment: {warmup: 1.0, final: 1}, schedule: {warmup_fraction: 0.7}}\n"
    assert from_yaml(text) == Config(stages=("train",))
    write("a.yaml", "stages: [search]\nsearch: {space: {loss.schedule.final_fraction: {uniform: [0.1, 0.4]}}}\n")
    with pytest.raises(ConfigError, match="weights that change during a training were removed"):
        load_config("a.yaml")


def test_settings_of_the_terms_of_other_packages_are_left_unchanged():
    values = {"loss": {"sparsity": {"warmup": 1, "final": 0.5}, "alignment": {"warmup": 1, "final": 1}}}
    assert upgrade.replace_deprecated(values, {}) == []
    assert values["loss"] == {"sparsity": {"warmup": 1, "final": 0.5}, "alignment": {}}


def test_a_switch_of_another_type_is_refused():
    with pytest.raises(ConfigError, match="got False, expected 0"):
        from_yaml("stages: [train]\nmodel: {geometry_slots: false}\n")


def test_a_removed_choice_is_refused_with_the_reason(write):
    write("a.yaml", "stages: [evaluate]\nevaluate:\n  methods: [learned_mvdr, learned_geometry]\n")
    with pytest.raises(ConfigError) as error:
        load_config("a.yaml")
    (problem,) = error.value.problems
    assert (problem.path, problem.origin) == ("evaluate.methods", "a.yaml:3")
    assert "got learned_geometry, which is no longer a choice: the geometry head was removed" in problem.text


def test_the_old_name_of_a_method_is_replaced(write):
    assert from_yaml("stages: [evaluate]\nevaluate: {methods: [greedy_ml, greedy_ml_told_k]}\n").evaluate.methods == (
        "greedy_ml",
        "greedy_ml_known_k",
    )
    write("a.yaml", "stages: [evaluate]\n")
    assert load_config("a.yaml", ["evaluate.methods=[greedy_ml_told_k]"]).evaluate.methods == ("greedy_ml_known_k",)
    old = ["sample_mvdr", "sample_music", "sample_bartlett", "omp_ml"]
    assert load_config("a.yaml", [f"evaluate.methods=[{', '.join(old)}]"]).evaluate.methods == (
        "mvdr",
        "music",
        "bartlett",
        "omp",
    )


def test_a_malformed_list_of_methods_is_left_to_the_schema():
    for methods in ("3", "[{a: 1}]", "[[greedy_ml]]"):
        with pytest.raises(ConfigError, match=r"evaluate\.methods"):
            from_yaml(f"stages: [evaluate]\nevaluate: {{methods: {methods}}}\n")


def test_a_removed_codebook_is_refused_in_every_physics():
    text = "stages: [evaluate]\nevaluate: {sources: [{name: a, physics: {codebook: {kind: mixed}}}]}\n"
    with pytest.raises(ConfigError) as error:
        from_yaml(text + "physics: {codebook: {kind: mixed}}\n")
    reasons = {problem.path: problem.text for problem in error.value.problems if "no longer a choice" in problem.text}
    assert set(reasons) == {"physics.codebook.kind", "evaluate.sources[0].physics.codebook.kind"}


@pytest.mark.parametrize(("kind", "now"), [("random", "random_each_scene"), ("dft", "dft"), ("designed", "designed")])
def test_random_codes_without_a_seed_are_those_of_each_scene(kind, now):
    codebook = f"{{codebook: {{kind: {kind}, seed: null}}}}"
    config = from_yaml(
        f"stages: [train]\nevaluate: {{sources: [{{name: a, physics: {codebook}}}]}}\nphysics: {codebook}\n"
    )
    of_source = config.evaluate.sources[0].physics
    assert of_source is not None
    for found in (config.physics.codebook, of_source.codebook):
        assert (found.kind, found.seed) == (now, 0)


def test_a_null_seed_alone_is_one_error_with_its_replacement():
    with pytest.raises(ConfigError, match=r"got null, which is no longer a choice: .*random_each_scene") as error:
        from_yaml("stages: [train]\nphysics: {codebook: {seed: null}}\n")
    assert len(error.value.problems) == 1


def test_the_old_name_of_the_simulator_of_scenes_is_replaced():
    text = "stages: [evaluate]\nevaluate: {sources: [{name: a, physics: {simulator: rician}}]}\n"
    config = from_yaml(text + "physics: {simulator: rician}\n")
    assert config.physics.simulator == "standard"
    assert config.evaluate.sources[0].physics is not None
    assert config.evaluate.sources[0].physics.simulator == "standard"


def test_a_search_over_a_removed_setting_is_refused(write):
    write("a.yaml", "stages: [search]\nsearch: {space: {model.geometry_slots: {choice: [0, 5]}}}\n")
    with pytest.raises(ConfigError) as error:
        load_config("a.yaml")
    (problem,) = error.value.problems
    assert problem.path == "search.space.model.geometry_slots"
    assert "geometry head was removed" in problem.text


def test_a_run_from_before_the_reference_of_the_snr_had_the_received_power(write):
    tree = to_tree(load_config("base.yaml", ["evaluate.sources=[{name: a, physics: {}}]"]))
    del tree["physics"]["scene"]["snr_reference"], tree["evaluate"]["sources"][0]["physics"]["scene"]["snr_reference"]
    stored = from_yaml(write_yaml(tree))
    assert stored.physics.scene.snr_reference == "received"
    assert stored.evaluate.sources[0].physics is not None
    assert stored.evaluate.sources[0].physics.scene.snr_reference == "received"
    assert from_yaml(to_yaml(stored)) == stored
    write("short.yaml", "stages: [train]\nphysics: {scene: {snr_db: [0, 10], max_sources: 6}}\n")
    assert load_config("short.yaml").physics.scene.snr_reference == "transmitted"


@pytest.mark.parametrize("name", ["default", "original"])
def test_a_released_network_has_the_received_power(write, name):
    assert load_config("base.yaml", [f"weights={name}", "stages=[evaluate]"]).physics.scene.snr_reference == "received"
    assert from_yaml((RELEASED / name / "config.yaml").read_text("utf-8")).physics.scene.snr_reference == "received"


@pytest.mark.parametrize("name", ["default", "original"])
def test_a_release_of_an_earlier_version_is_read(name):
    text = (RELEASED / name / "config.yaml").read_text("utf-8")
    assert "geometry_slots: 0" in text, "written before the setting was removed"
    config = from_yaml(text)
    assert from_yaml(to_yaml(config)) == config
    assert "geometry" not in to_yaml(config).split("physics:")[0]
    assert "refiner:" in text
    assert "refiner" not in to_yaml(config)


class TestRenamed:
    """With a table in which three settings were renamed."""

    @pytest.fixture(autouse=True)
    def table(self, monkeypatch):
        renamed = {
            "train.rate": Renamed("train.learning_rate"),
            "network": Renamed("model"),
            "physics.scene.most": Renamed("physics.scene.max_sources"),
        }
        monkeypatch.setattr(upgrade, "DEPRECATED", renamed)

    def test_files_and_overrides_are_moved(self, write):
        write("base.yaml", "stages: [train]\ntrain: {rate: 0.5}\nnetwork: {width: 64}\n")
        write("a.yaml", "base: base.yaml\nmodel: {heads: 2}\nphysics: {base: original, scene: {most: 7}}\n")
        config = load_config("a.yaml")
        assert (config.train.learning_rate, config.model.width, config.model.heads) == (0.5, 64, 2)
        assert config.physics.scene.max_sources == 7
        config = load_config("a.yaml", ["train.rate=0.25", "network.width=32", "physics.scene.most=6"])
        assert (config.train.learning_rate, config.model.width, config.physics.scene.max_sources) == (0.25, 32, 6)

    def test_settings_of_evaluated_scenes_are_moved(self):
        text = "stages: [evaluate]\nevaluate: {sources: [{name: a}, {name: b, physics: {scene: {most: 7}}}]}\n"
        physics = from_yaml(text).evaluate.sources[1].physics
        assert physics is not None
        assert physics.scene.max_sources == 7

    def test_the_search_space_is_moved(self):
        text = "stages: [search]\nsearch: {space: {train.rate: {uniform: [0.1, 0.2]}, network.width: {choice: [64]}}}\n"
        assert list(from_yaml(text).search.space) == ["train.learning_rate", "model.width"]

    def test_an_error_is_reported_at_the_old_place(self, write):
        write("a.yaml", "stages: [train]\ntrain:\n  rate: fast\n")
        with pytest.raises(ConfigError) as error:
            load_config("a.yaml")
        (problem,) = error.value.problems
        assert (problem.path, problem.origin) == ("train.learning_rate", "a.yaml:3")

    def test_both_names_in_one_file_are_refused(self, write):
        write("a.yaml", "stages: [train]\ntrain: {rate: 0.5, learning_rate: 0.1}\n")
        with pytest.raises(ConfigError) as error:
            load_config("a.yaml")
        (problem,) = error.value.problems
        assert (problem.path, problem.origin) == ("train.rate", "a.yaml:2")
        assert "got train.rate and train.learning_rate, expected one of them" in problem.text
