"""One worker: results, pruning, reasons, records."""

import json

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from risjax.config import Config, Distribution
from risjax.config.errors import ConfigError, Problem
from risjax.config.io import apply_overrides, load_config
from risjax.experiments.search.separation import measure_separation
from risjax.experiments.search.study import SearchError, SearchOutcome, open_study, search
from risjax.runs.run_directory import RunDirectory, RunDirectoryError
from risjax.runs.terminal import Terminal
from tests.experiments.search.fake import FakeTrain, make_config, metric_of

LAYERS = {"model.layers": Distribution(integer=(1, 6))}


def run(config: Config, path, train: FakeTrain | None = None) -> SearchOutcome:
    return search(config, RunDirectory(path), Terminal(quiet=True), train=train or FakeTrain())


def values_of(outcome: SearchOutcome) -> list[float]:
    """Return the value of every trial; all of them must have one."""
    values = [record.value for record in outcome.trials if record.value is not None]
    assert len(values) == len(outcome.trials)
    return values


def outline(outcome: SearchOutcome) -> list[tuple]:
    return [(r.number, r.state, r.value, r.params, r.reason, r.intermediate, r.is_best) for r in outcome.trials]


def test_best_is_the_best_value_of_a_complete_trial(tmp_path):
    config = make_config(pruner="none")
    outcome = run(config, tmp_path)
    values = values_of(outcome)
    assert outcome.value == min(values)
    assert [r.is_best for r in outcome.trials] == [value == min(values) for value in values]
    assert metric_of(outcome.config, config.search.epochs) == pytest.approx(outcome.value, rel=1e-12)
    assert outcome.config.train.epochs == config.train.epochs, "the winner trains as long as the run says"


def test_f1_is_maximised(tmp_path):
    outcome = run(make_config(metric="f1_3d", pruner="none"), tmp_path)
    assert outcome.value == max(values_of(outcome))


def test_best_yaml_is_a_complete_configuration(tmp_path):
    outcome = run(make_config(storage=f"sqlite:///{tmp_path}/study.db"), tmp_path)
    best = load_config(str(tmp_path / "search" / "best.yaml"))
    assert best.stages == ("train",)
    assert best.search.storage is None
    for section in ("physics", "precision", "model", "loss", "covariance", "estimator", "train"):
        assert getattr(best, section) == getattr(outcome.config, section)


def test_trials_json_contains_every_trial(tmp_path):
    outcome = run(make_config(trials=5), tmp_path)
    rows = json.loads((tmp_path / "search" / "trials.json").read_text())
    assert [row["number"] for row in rows] == list(range(5))
    assert [row["value"] for row in rows] == [record.value for record in outcome.trials]
    assert all(row["attempts"] == 1 and row["seconds"] > 0 for row in rows)
    assert set(rows[0]["params"]) == set(make_config().search.space)


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_pruning_saves_epochs_and_records_the_reason(tmp_path, pruner):
    train = FakeTrain()
    outcome = run(make_config(trials=12, epochs=9, pruner=pruner), tmp_path, train)
    pruned = [record for record in outcome.trials if record.state == "pruned"]
    assert pruned
    assert all(record.value is None and pruner in (record.reason or "") for record in pruned)
    assert sum(train.epochs_done) == sum(len(record.intermediate) for record in outcome.trials) < 12 * 9
    summary = json.loads((tmp_path / "search" / "summary.json").read_text())
    assert summary["epochs_trained"] + summary["epochs_pruned_away"] == 12 * 9


def test_warmup_epochs_are_given_to_every_trial(tmp_path):
    outcome = run(make_config(trials=12, epochs=6, warmup_epochs=3), tmp_path)
    lengths = [len(record.intermediate) for record in outcome.trials if record.state == "pruned"]
    assert lengths
    assert min(lengths) >= 3


def test_a_finished_search_runs_no_trial_and_returns_the_same(tmp_path):
    first, again = run(make_config(), tmp_path), FakeTrain()
    assert outline(run(make_config(), tmp_path, again)) == outline(first)
    assert again.configs == []


def test_one_seed_gives_one_study_and_another_seed_another(tmp_path):
    config = make_config(trials=10)
    other = config.model_copy(update={"run": config.run.model_copy(update={"seed": 1})})
    first = outline(run(config, tmp_path / "a"))
    assert outline(run(config, tmp_path / "b")) == first
    assert outline(run(other, tmp_path / "c")) != first


def test_storages_give_the_same_study(tmp_path):
    journal = run(make_config(trials=10), tmp_path / "a")
    sqlite = run(make_config(trials=10, storage=f"sqlite:///{tmp_path}/study.db"), tmp_path / "b")
    assert outline(sqlite) == outline(journal)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("nan", "gospa_m is nan after epoch 2"), ("raise", "non-finite training: loss term 'projector'")],
)
def test_a_non_finite_trial_is_pruned_with_its_reason_and_has_no_value(tmp_path, kind, words):
    train = FakeTrain(poison={2: kind, 3: kind})
    outcome = run(make_config(trials=10, space=LAYERS, pruner="none"), tmp_path, train)
    sick = [record for record in outcome.trials if record.params["model.layers"] in (2, 3)]
    assert sick
    assert all(record.state == "pruned" and record.value is None and words in (record.reason or "") for record in sick)
    assert all(r.state == "complete" for r in outcome.trials if r not in sick)
    assert outcome.config.model.layers not in (2, 3)


def test_a_search_without_any_value_is_an_error_with_the_reasons(tmp_path):
    with pytest.raises(SearchError, match=r"no trial of the search is complete(.|\n)*gradient of scenes 3"):
        run(make_config(trials=3, space=LAYERS), tmp_path, FakeTrain(poison=dict.fromkeys(range(1, 7), "raise")))


def test_invalid_combinations_are_pruned_with_the_schemas_reason(tmp_path):
    space = {"model.heads": Distribution(choice=(4, 6)), "model.width": Distribution(choice=(96, 128))}
    outcome = run(make_config(trials=12, space=space), tmp_path)
    clash = [r for r in outcome.trials if (r.params["model.heads"], r.params["model.width"]) == (6, 128)]
    assert clash
    assert all("heads must divide width" in (record.reason or "") for record in clash)


def test_a_bug_ends_the_search_and_the_trial_is_repeated_after_its_fix(tmp_path):
    config = make_config(trials=6, space=LAYERS, pruner="none")
    whole = run(config, tmp_path / "whole")
    bad = whole.trials[2].params["model.layers"]
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(config, tmp_path / "broken", FakeTrain(poison={bad: "bug"}))
    rows = json.loads((tmp_path / "broken" / "search" / "trials.json").read_text())
    assert (rows[-1]["state"], rows[-1]["reason"]) == ("failed", "ZeroDivisionError: a bug")
    assert outline(run(config, tmp_path / "broken")) == outline(whole)


def test_only_the_best_trial_keeps_its_checkpoints_and_all_keep_their_logs(tmp_path):
    outcome = run(make_config(), tmp_path)
    for record in outcome.trials:
        path = tmp_path / "search" / "trials" / f"{record.number:04d}"
        assert (path / "checkpoints" / "epoch_00001").exists() == record.is_best
        assert (path / "log.jsonl").exists()
        assert (path / "config.yaml").exists()


def test_files_of_others_in_a_trials_directory_are_left_alone(tmp_path):
    notes = tmp_path / "search" / "trials" / "0000" / "checkpoints" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    (notes.parent.parent / "figures").mkdir()
    (notes.parent.parent / "figures" / "loss.png").write_text("mine")
    run(make_config(), tmp_path)
    assert notes.exists()
    assert (notes.parent.parent / "figures" / "loss.png").exists()
    assert not (notes.parent / "epoch_00001").exists()


@pytest.mark.parametrize("kept_name", [True, False], ids=["with study.json", "of an earlier version"])
def test_a_moved_directory_continues_its_study(tmp_path, kept_name):
    whole = run(make_config(trials=6), tmp_path / "whole")
    run(make_config(trials=4), tmp_path / "before")
    if not kept_name:
        (tmp_path / "before" / "search" / "study.json").unlink()
    (tmp_path / "before").rename(tmp_path / "after")
    train = FakeTrain()
    outcome = run(make_config(trials=6), tmp_path / "after", train)
    assert len(train.configs) == 2, "four trials were finished before"
    assert outline(outcome) == outline(whole)


def test_a_moved_directory_continues_its_study_in_a_database(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    run(make_config(trials=4, storage=url), tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    train = FakeTrain()
    assert len(run(make_config(trials=6, storage=url), tmp_path / "after", train).trials) == 6
    assert len(train.configs) == 2


def test_a_fresh_run_starts_a_new_study_in_a_shared_database(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    run(make_config(trials=4, storage=url), tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "run.20260101-000000")
    config, train = make_config(trials=4, storage=url), FakeTrain()
    fresh = config.model_copy(update={"run": config.run.model_copy(update={"fresh": True})})
    assert len(run(fresh, tmp_path / "run", train).trials) == 4
    assert len(train.configs) == 4, "no trial of the earlier study"
    more = FakeTrain()  # resumed without run.fresh
    assert len(run(make_config(trials=6, storage=url), tmp_path / "run", more).trials) == 6
    assert len(more.configs) == 2


def test_a_deleted_study_is_refused_before_its_trials_are_overwritten(tmp_path):
    run(make_config(trials=2), tmp_path)
    (tmp_path / "search" / "study.journal").unlink()
    with pytest.raises(RunDirectoryError, match=r"trials/0000 holds a trial that the study does not contain"):
        run(make_config(trials=2), tmp_path)


PATCHES = {"model.patch": Distribution(choice=(2, 5)), "physics.array.num_horizontal": Distribution(choice=(10, 12))}


def test_a_surface_and_a_patch_that_do_not_fit_prune_the_trial_with_the_reason(tmp_path):
    config = make_config(trials=8, space=PATCHES)
    config = apply_overrides(config, {"physics.array.num_vertical": 10})
    outcome = run(config, tmp_path)
    misfits = [r for r in outcome.trials if tuple(r.params.values()) == (5, 12)]
    assert misfits
    assert all(r.state == "pruned" and "expected a divisor of both sides" in (r.reason or "") for r in misfits)
    assert all(r.value is not None or r in misfits for r in outcome.trials)


def test_a_patch_that_fits_no_trial_is_refused_before_the_first(tmp_path):
    train = FakeTrain()
    space = {"model.patch": Distribution(choice=(2, 5))}
    with pytest.raises(ConfigError, match=r"search\.space\.model\.patch"):
        run(make_config(space=space), tmp_path, train)
    assert train.configs == []


def test_a_training_that_cannot_be_built_is_pruned_with_its_reason(tmp_path):
    def train(config, directory, terminal, *, on_epoch):
        if config.model.layers == 2:
            raise ConfigError([Problem("physics.codebook.path", "", "holds codes of another shape")])
        FakeTrain()(config, directory, terminal, on_epoch=on_epoch)

    outcome = search(make_config(trials=8, space=LAYERS), RunDirectory(tmp_path), Terminal(quiet=True), train=train)
    bad = [record for record in outcome.trials if record.params["model.layers"] == 2]
    assert bad
    assert {(r.state, r.reason) for r in bad} == {
        ("pruned", "invalid configuration: physics.codebook.path holds codes of another shape")
    }


def test_another_configuration_does_not_join_the_study(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    run(make_config(storage=url, study="shared", trials=2), tmp_path / "a")
    with pytest.raises(SearchError, match=r"search\.epochs"):
        run(make_config(storage=url, study="shared", trials=2, epochs=5), tmp_path / "b")
    outcome = run(make_config(storage=url, study="shared", trials=3), tmp_path / "c")
    assert len(outcome.trials) == 3, "more trials are the same study, continued"


def test_importances_find_the_setting_that_matters(tmp_path):
    run(make_config(trials=30, pruner="none", metric="nmse"), tmp_path)
    importances = json.loads((tmp_path / "search" / "summary.json").read_text())["importances"]
    assert sum(importances.values()) == pytest.approx(1.0, abs=1e-6)
    assert importances["physics.scene.snr_db"] < 0.1, "the fake metric does not read it"


def test_whether_trials_separate_is_measured_once(tmp_path, capsys):
    train = FakeTrain()
    search(make_config(seeds=3), RunDirectory(tmp_path), Terminal(), train=train)
    assert "trials separate (their spread is" in capsys.readouterr().out
    found = json.loads((tmp_path / "search" / "summary.json").read_text())["separation"]
    assert len(set(found["seeds"])) == 3
    assert found["ratio"] == pytest.approx(found["spread_of_trials"] / found["spread_of_seeds"])
    assert found["ratio"] > 2
    assert [config.run.seed for config in train.configs[-3:]] == [1, 2, 3]
    again = FakeTrain()
    run(make_config(seeds=3), tmp_path, again)
    assert again.configs == []


def test_seeds_of_another_winner_are_trained_again(tmp_path):
    config, directory, train = make_config(seeds=2), RunDirectory(tmp_path), FakeTrain()
    run(config, tmp_path)
    study = open_study(config, directory)
    for layers in (1, 6, 1):
        found = measure_separation(study, config, {"model.layers": layers}, [3.0, 1.0, 2.0], directory, train=train)
        assert found is not None
    assert [config.model.layers for config in train.configs] == [1, 1, 6, 6], "those of the first are kept"
    assert len(list((directory.search / "seeds").glob("*/1/checkpoints"))) == 3, "one for each winner"


def test_trials_that_do_not_separate_are_reported(tmp_path, capsys):
    space = {"covariance.blend": Distribution(uniform=(0.0, 1.0))}  # the fake metric does not read it
    config = make_config(space=space, seeds=3, pruner="none")
    search(config, RunDirectory(tmp_path), Terminal(), train=FakeTrain())
    assert "do NOT separate" in capsys.readouterr().out


def test_optuna_opens_the_journal(tmp_path):
    run(make_config(trials=4), tmp_path)
    journal = JournalFileBackend(str(tmp_path / "search" / "study.journal"))
    study = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(journal))
    assert len(study.trials) == 4
