"""Training: loss, gradients, schedule, validation, and dtypes at the input of the loss."""

from collections.abc import Iterator

from risjax.report.blocks import Cell, Notice, PropertyList, ReportSection, TableBlock
from risjax.report.display_names import NO_VALUE, number
from risjax.report.figures import gradient_norms, loss_curves, optimizer_curves, validation_curves
from risjax.report.reading import Run
from risjax.runs.formatting import duration_text


def training_section(run: Run) -> Iterator[ReportSection]:
    """Yield the section of the training records in ``log.jsonl``."""
    section = ReportSection("training", "Training")
    if run.steps is None and not run.epochs:
        section.add(Notice("No training was logged: log.jsonl contains neither steps nor epochs."))
        yield section
        return
    section.add(PropertyList("Summary", _summary(run)))
    if run.steps is not None:
        section.add(loss_curves(run.steps, _weights(run)), gradient_norms(run.steps))
    section.add(validation_curves(run.epochs, run.trained_setting("train.best_metric")))
    if run.steps is not None:
        section.add(optimizer_curves(run.steps))
    section.add(_dtypes(run))
    yield section


def _weights(run: Run) -> dict[str, float] | None:
    """Return the weight of each loss term; other entries of the section ``loss`` have no weight."""
    terms = run.trained_setting("loss")
    if not isinstance(terms, dict):
        return None
    return {name: term["weight"] for name, term in terms.items() if isinstance(term, dict) and "weight" in term}


def _summary(run: Run) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if run.epochs:
        last = run.epochs[-1]
        planned = run.trained_setting("train.epochs")
        facts.append(("Epochs", f"{last['epoch']}" + (f" of {planned}" if planned else "")))
        facts.append(("Best epoch (kept)", str(last.get("best_epoch", NO_VALUE))))
        seconds = [record.get("seconds") for record in run.epochs]
        known = [value for value in seconds if isinstance(value, int | float)]
        facts.append(("Time", duration_text(sum(known)) if known else NO_VALUE))
        for label, name in (
            ("Skipped steps", "skipped_steps"),
            ("Applied updates", "applied_updates"),
            ("Schedule steps", "schedule_count"),
        ):
            if name in last:
                facts.append((label, str(last[name])))
        facts.append(("All losses finite", "yes" if all(r.get("finite") is not False for r in run.epochs) else "no"))
    if run.steps is not None:
        loss = run.steps.column("loss")
        if loss is not None:
            tenth = max(1, len(loss) // 10)
            facts.append(
                (
                    "Mean loss, first and last 10 % of steps",
                    f"{number(loss[:tenth].mean())} → {number(loss[-tenth:].mean())}",
                )
            )
    return facts


def _dtypes(run: Run) -> TableBlock | None:
    before, after = run.dtypes.get("before"), run.dtypes.get("after")
    if not isinstance(before, dict) or not isinstance(after, dict) or not before:
        return None
    rows = []
    for leaf, dtype in after.items():
        parts = {name: kind for name, kind in before.items() if name == leaf or name.startswith(f"{leaf}.")}
        packed = f" ({' and '.join(name.rpartition('.')[2] for name in parts)})" if leaf not in parts and parts else ""
        kinds = ", ".join(dict.fromkeys(map(str, parts.values()))) or NO_VALUE
        rows.append([leaf, Cell(kinds + packed), Cell(str(dtype))])
    caption = "Dtype of each prediction and label array before and after the cast at the input of the loss."
    return TableBlock(("Array", "Before the cast", "After the cast"), rows, caption)
