"""Notices of slow compilations, and the summary of what the cache saved."""

import threading
import time

import pytest
from jax import monitoring

from risjax.runs import compilation
from risjax.runs.compilation import Compilation, program_words

LOWERED, COMPILED = compilation._LOWERED, compilation._COMPILED


def test_a_slow_program_is_named_until_it_is_compiled(monkeypatch):
    monkeypatch.setattr(compilation, "NOTICE_AFTER_S", 0.0)
    monkeypatch.setattr(compilation, "_PERIOD_S", 0.01)
    notices, named, ended = [], threading.Event(), threading.Event()

    def notify(name):
        notices.append(name)
        (named if name else ended).set()

    with Compilation(notify):
        monitoring.record_event_duration_secs(LOWERED, 0.1, fun_name="jit(step)")
        assert named.wait(10)
        monitoring.record_event_duration_secs(COMPILED, 5.0, fun_name="jit(step)")
        assert ended.wait(10)
    assert notices == ["the training step", None]


def test_a_fast_program_is_not_named(monkeypatch):
    monkeypatch.setattr(compilation, "_PERIOD_S", 0.01)
    notices = []
    with Compilation(notices.append):
        monitoring.record_event_duration_secs(LOWERED, 0.1, fun_name="jit(step)")
        time.sleep(0.1)
    assert notices == []


@pytest.mark.parametrize(
    ("saved_s", "summary"),
    [
        ((0.4, -0.2), None),
        ((9.2, 3.0, -0.1), "compiled programs: 3 read from the cache, at least 12 s saved"),
    ],
)
def test_the_summary_counts_what_was_read(saved_s, summary):
    with Compilation(lambda _: None) as counted:
        for seconds in saved_s:
            monitoring.record_event("/jax/compilation_cache/cache_hits")
            monitoring.record_event_duration_secs("/jax/compilation_cache/compile_time_saved_sec", seconds)
    monitoring.record_event("/jax/compilation_cache/cache_hits")
    assert counted.summary() == summary


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jit(step)", "the training step"),
        ("jit(draw)", "the program draw"),
        ("jit(<lambda>)", "a program"),
        ("", "a program"),
    ],
)
def test_programs_are_named_in_words(name, words):
    assert program_words(name) == words
