"""`tune`: the same trials however it is interrupted, the right one named best, components beside it."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

pytest.importorskip("torch")

import astro_cluster as ac
from astro_cluster.embedding import WeightedPCA, load_model
from astro_cluster.embedding.infovae import InfoVAE
from astro_cluster.exceptions import InputError
from astro_cluster.tuning.outcome import smallest_good
from astro_cluster.wavelengths import log_grid, note_spectra

SEARCH = {"width": [(8,), (16, 8)]}
SMALL = {"n_latent": (1, 2), "trials": 6, "held_out": 0.25, "random_state": 3, "search": SEARCH}


def spectra(n: int = 72, m: int = 24, seed: int = 1, *, ivar: bool = True) -> QTable:
    rng = np.random.default_rng(seed)
    x, c = np.linspace(0, 1, m), rng.normal(size=(n, 2))
    flux = 10 + c[:, :1] * np.sin(3 * x + c[:, :1]) + c[:, 1:] * x + rng.normal(0, 0.2, (n, m))
    weights = 25.0 * (rng.random((n, m)) > 0.05)
    weights[n // 2] = 0
    flux[weights == 0] = np.nan
    table = QTable({"flux": flux.astype("f4") * u.Jy})
    if ivar:
        table["ivar"] = weights.astype("f4") / u.Jy**2
    note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, m), ivar="ivar" if ivar else None)
    return table


def model(**parameters: object) -> InfoVAE:
    return InfoVAE(
        **{"hidden": (16, 8), "epochs": 14, "batch_size": 32, "patience": None, "n_threads": 1} | parameters
    )


class Stop:
    """Presses Ctrl-C after given numbers of epochs."""

    def __init__(self, *after: int) -> None:
        self.left = list(after)

    def __call__(self, epoch: int, numbers: dict[str, float]) -> None:
        if self.left:
            self.left[0] -= 1
            if self.left[0] == 0:
                self.left.pop(0)
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nothing interrupted: its table, folder and what was told."""
    folder = tmp_path_factory.mktemp("tuned") / "whole"
    told: list[dict] = []
    table = ac.tune(model(), spectra(), folder=folder, on_trial=told.append, **SMALL)
    return table, folder, told


def same(one: QTable, other: QTable) -> bool:
    assert one.colnames == other.colnames
    for name in one.colnames:
        if name == "seconds":
            continue
        a, b = (np.ma.asarray(getattr(t[name], "value", t[name])) for t in (one, other))
        if not np.array_equal(np.ma.getmaskarray(a), np.ma.getmaskarray(b)):
            return False
        filled = [x.compressed() for x in (a, b)]
        if not np.array_equal(*filled):
            return False
    return True


def test_every_trial_is_a_row_with_its_terms_and_the_components_beside_it(whole):
    table, _, told = whole
    own = table[table["model"] == "infovae"]
    assert len(own) == 12
    assert [(row["n_latent"], row["trial"]) for row in own] == list(itertools.product((1, 2), range(6)))
    assert set(own["state"]) <= {"complete", "pruned"}
    for name in ("held_out_loss", "held_out_mse", "held_out_chi2", "kl", "mmd"):
        assert np.isfinite(np.ma.asarray(own[name]).filled(np.nan)).all()
    assert (own["lambda_"] >= 2).all()
    assert (own["lambda_"] <= 64).all()
    first = own[own["trial"] == 0]
    assert (first["lambda_"] == 10).all()
    assert (first["alpha"] == 0).all()
    assert (first["width"] == "16-8").all()
    assert len(set(own["lambda_"])) > 6
    assert [row["trial"] for row in told] == list(range(6)) * 2
    assert all(row["trials"] == 6 for row in told)
    others = table[table["model"] == "weighted-pca"]
    assert others["n_latent"].tolist() == [1, 2]
    assert others["lambda_"].mask.all()


def test_the_rows_that_judge_are_the_same_for_all_and_the_components_agree_with_a_fit_of_ones_own(whole):
    table, folder, _ = whole
    models = [load_model(folder / f"latent_{d}.safetensors") for d in (1, 2)]
    rows = models[0].held_out_rows_
    assert np.array_equal(rows, models[1].held_out_rows_)
    assert len(rows) == table.meta["held_out_rows"] == round(0.25 * 71)
    assert 36 not in rows
    data = spectra()
    flux, ivar = data["flux"].value, data["ivar"].value
    pca = WeightedPCA(2).fit(flux, weights=ivar, held_out_rows=rows)
    row = table[(table["model"] == "weighted-pca") & (table["n_latent"] == 2)][0]
    assert row["held_out_chi2"] == pytest.approx(pca.held_out_chi2_, rel=1e-9)
    best = table[(table["model"] == "infovae") & (table["n_latent"] == 2) & table["best_of_size"]][0]
    errors = models[1].reconstruction_errors(flux[rows], weights=ivar[rows])
    assert best["held_out_chi2"] == pytest.approx(np.mean(errors["chi2"]), rel=1e-6)
    assert best["held_out_mse"] == pytest.approx(np.mean(errors["mse"]), rel=1e-6)
    assert best["held_out_chi2_error"] == pytest.approx(
        np.std(errors["chi2"], ddof=1) / np.sqrt(len(rows)), rel=1e-6
    )
    assert best["lambda_"] == models[1].lambda_


def test_the_best_of_a_size_has_the_lowest_chi2_and_one_of_them_is_the_one_to_take(whole):
    table, folder, _ = whole
    for size in (1, 2):
        own = table[
            (table["model"] == "infovae") & (table["n_latent"] == size) & (table["state"] == "complete")
        ]
        assert own["best_of_size"].sum() == 1
        assert own["held_out_chi2"][own["best_of_size"]][0] == own["held_out_chi2"].min()
    assert table["best"].sum() == 1
    taken = table[table["best"]][0]
    assert taken["best_of_size"]
    assert (folder / "best.safetensors").read_bytes() == (folder / taken["file"]).read_bytes()
    assert same(ac.read(folder / "trials.ecsv"), table)
    assert not list(folder.glob("trial_*"))


@pytest.mark.parametrize("after", [(3,), (1, 1, 5, 40), (29, 17, 30)])
def test_an_interrupted_search_gives_the_trials_of_one_that_was_not(whole, tmp_path, after):
    table, folder, _ = whole
    stop, interrupted = Stop(*after), 0
    while True:
        try:
            found = ac.tune(model(), spectra(), folder=tmp_path / "t", progress=stop, **SMALL)
            break
        except KeyboardInterrupt as error:
            interrupted += any("make the same call again" in note for note in error.__notes__)
    assert interrupted == len(after)
    assert same(found, table)
    for size in (1, 2):
        one, other = (load_model(place / f"latent_{size}.safetensors") for place in (folder, tmp_path / "t"))
        assert one.history_["held_out_chi2"] == other.history_["held_out_chi2"]
        assert all(
            (a == b).all() for a, b in zip(one.layers_.parameters(), other.layers_.parameters(), strict=True)
        )


def test_a_journal_cut_at_any_byte_leads_to_the_same_trials(whole, tmp_path):
    """What a sudden end leaves: part of the journal, no checkpoint."""
    table, folder, _ = whole
    text = (folder / "journal.log").read_bytes()
    rng = np.random.default_rng(0)
    for cut in [1, *rng.integers(1, len(text), 3), len(text) - 1]:
        place = tmp_path / f"cut{cut}"
        place.mkdir()
        (place / "journal.log").write_bytes(text[:cut])
        assert same(ac.tune(model(), spectra(), folder=place, **SMALL), table)


def test_a_finished_search_is_not_run_again_and_may_be_made_longer(whole, tmp_path):
    table, folder, _ = whole
    shutil.copytree(folder, tmp_path / "t")
    told: list[dict] = []
    again = ac.tune(model(), spectra(), folder=tmp_path / "t", on_trial=told.append, **SMALL)
    assert not told
    assert same(again, table)
    more = SMALL | {"trials": 7, "n_latent": (1, 2, 3)}
    longer = ac.tune(model(), spectra(), folder=tmp_path / "t", on_trial=told.append, **more)
    assert [(row["n_latent"], row["trial"]) for row in told] == [(1, 6), (2, 6), *((3, k) for k in range(7))]
    kept = (longer["trial"].filled(99) < 6) & (longer["n_latent"] < 3)
    old = [n for n in table.colnames if n not in ("best", "best_of_size", "file", "seconds")]
    assert same(longer[kept][old], table[table["model"] == "infovae"][old])


def test_a_model_that_was_taken_away_is_trained_again(whole, tmp_path):
    _, folder, _ = whole
    shutil.copytree(folder, tmp_path / "t")
    before = load_model(tmp_path / "t" / "latent_2.safetensors")
    (tmp_path / "t" / "latent_2.safetensors").unlink()
    ac.tune(model(), spectra(), folder=tmp_path / "t", **SMALL)
    after = load_model(tmp_path / "t" / "latent_2.safetensors")
    assert before.history_["held_out_chi2"] == after.history_["held_out_chi2"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"table": spectra(seed=2)}, "spectra are not the same"),
        ({"model": model(batch_size=8)}, "batch_size was 32 and is 8"),
        ({"epochs": 15}, "epochs was 14 and is 15"),
        ({"random_state": 4}, "the seed 3, not 4"),
        ({"held_out": 0.3}, "held_out was 0.25 and is 0.3"),
        ({"search": None}, "search was"),
        ({"prune": False}, "prune was True and is False"),
    ],
)
def test_a_search_for_something_else_is_refused_and_nothing_is_changed(whole, tmp_path, change, word):
    _, folder, _ = whole
    shutil.copytree(folder, tmp_path / "t")
    arguments = {"model": model(), "table": spectra()} | SMALL | change
    before = (folder / "journal.log").read_bytes()
    with pytest.raises(InputError, match=word):
        ac.tune(folder=tmp_path / "t", **arguments)
    assert (tmp_path / "t" / "journal.log").read_bytes() == before


def test_threads_and_a_seed_that_is_not_given_do_not_matter_to_a_search_that_goes_on(whole, tmp_path):
    table, folder, _ = whole
    shutil.copytree(folder, tmp_path / "t")
    arguments = {name: value for name, value in SMALL.items() if name != "random_state"}
    assert same(ac.tune(model(n_threads=2), spectra(), folder=tmp_path / "t", **arguments), table)


def test_hopeless_trials_end_early_and_only_then(whole, tmp_path):
    table, _, _ = whole
    arguments = SMALL | {"n_latent": 1, "trials": 6}
    all_through = ac.tune(model(), spectra(), folder=tmp_path / "t", prune=False, **arguments)
    assert set(all_through["state"]) == {"complete"}
    assert (all_through["epochs"][:6] == 14).all()
    pruned = table[(table["model"] == "infovae") & (table["state"] == "pruned")]
    assert (pruned["epochs"] >= 10).all()
    assert not pruned["best_of_size"].any()
    # The first four of a size are never ended early, so they are the same.
    old = ["lambda_", "alpha", "width", "held_out_chi2", "kl", "mmd"]
    assert same(all_through[:4][old], table[:4][old])


def test_a_time_limit_leaves_a_folder_that_goes_on(whole, tmp_path):
    table, _, _ = whole
    part = ac.tune(model(), spectra(), folder=tmp_path / "t", timeout=1e-3, **SMALL)
    assert ac.records(part)[-1]["finished"] is False
    assert (part["model"] == "infovae").sum() < 12
    assert part["best"].sum() == 0
    assert same(ac.tune(model(), spectra(), folder=tmp_path / "t", **SMALL), table)


def test_without_a_folder_nothing_is_kept_and_the_record_makes_it_again(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ac.write(spectra(), "qso.fits")
    arguments = SMALL | {"n_latent": 1, "trials": 2}
    table = ac.tune(model(), "qso.fits", **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["qso.fits"]
    assert ac.records(table)[-1]["inputs"] == {"flux": "Jy", "ivar": "1 / Jy2"}
    assert "folder" not in ac.records(table)[-1]["parameters"]
    ac.write(table, "trials.ecsv")
    assert same(ac.rerun("trials.ecsv"), table)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["qso.fits", "trials.ecsv"]


def test_spectra_without_errors_and_named_models_are_searched_too():
    table = ac.tune(
        "infovae", spectra(ivar=False), n_latent=1, trials=1, epochs=2, random_state=1, search={"alpha": None}
    )
    assert table["width"][0] == "256-128"
    assert np.isfinite(table["held_out_chi2"]).all()


def test_faint_spectra_without_errors_are_searched_as_bright_ones():
    """Their inverse variances are too large for single precision."""
    found = []
    for factor in (1.0, 1e-21):
        data = spectra(ivar=False)
        data["flux"] = data["flux"].astype("f8" if factor == 1 else "f4") * factor
        found.append(ac.tune(model(epochs=2), data, **SMALL | {"n_latent": 1, "trials": 1})["held_out_chi2"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)


def test_any_changed_spectrum_is_another_search(tmp_path):
    arguments = SMALL | {"n_latent": 1, "trials": 1, "folder": tmp_path / "t", "search": {"alpha": None}}
    data = spectra(600)
    ac.tune(model(epochs=1), data, **arguments)
    data["flux"][1, 5] *= 1.01
    with pytest.raises(InputError, match="spectra are not the same"):
        ac.tune(model(epochs=1), data, **arguments)


def test_redshifts_and_errors_that_are_none_are_those_of_embed():
    data = spectra()
    data["Z"] = np.linspace(1, 3, 72)
    data["Z"][3] = -1.0
    data["ivar"][5, 2] = -1 / u.Jy**2
    arguments = SMALL | {"n_latent": 1, "trials": 1}
    table = ac.tune(model(epochs=2, conditioned=True), data, **arguments)
    assert np.isfinite(table["held_out_chi2"]).all()
    assert "Z" in ac.records(table)[-1]["inputs"]
    assert ac.records(table)[-1]["rows_used"] == 70  # one has no pixel, one no redshift
    del data["Z"]
    with pytest.raises(InputError, match="no column 'redshift', 'Z' or 'z'"):
        ac.tune(model(conditioned=True), data, **arguments)


def test_a_trial_that_gives_no_number_is_a_failed_row_and_the_search_goes_on(tmp_path):
    with pytest.warns(ac.AstroClusterWarning, match="no finite loss"):
        table = ac.tune(
            model(learning_rate=1e6, optimiser="sgd"), spectra(), n_latent=1, trials=1, folder=tmp_path / "t"
        )
    assert table["state"].tolist() == ["failed", "complete"]
    assert table["held_out_chi2"].mask.tolist() == [True, False]
    assert not (tmp_path / "t" / "best.safetensors").exists()


def test_the_smallest_size_within_one_standard_error_of_the_differences_is_taken():
    rng = np.random.default_rng(0)
    scatter = rng.normal(5, 3, 400)  # among the spectra; much larger than what the models differ by
    chi2 = {
        3: scatter + rng.normal(0.5, 0.5, 400),
        6: scatter + rng.normal(0.001, 0.5, 400),
        9: scatter,
        12: scatter + 0.2,
    }
    assert smallest_good(chi2) == 6
    assert smallest_good({3: chi2[3], 9: chi2[9], 12: chi2[12]}) == 9
    assert smallest_good({12: chi2[12]}) == 12


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n_latent": ()}, "n_latent is empty"),
        ({"n_latent": (3, 0)}, "n_latent holds 0"),
        ({"n_latent": "3,6"}, "n_latent='3,6'"),
        ({"trials": 0}, "trials=0"),
        ({"held_out": 0}, "held_out=0"),
        ({"held_out": True}, "held_out=True"),
        ({"timeout": -1}, "timeout=-1"),
        ({"random_state": "a"}, "random_state='a'"),
        ({"search": {"lamda_": (2, 3)}}, "search knows no 'lamda_'.*lambda_"),
        ({"search": {"lambda_": (3, 2)}}, "lambda_=\\(3, 2\\)"),
        ({"search": {"lambda_": (0.1, 2)}}, "neither of which may be below 0"),
        ({"search": {"alpha": (0, 1.5)}}, "neither of which may be below 0"),
        ({"search": {"width": [256, 128]}}, "width="),
        ({"search": {"width": []}}, "width="),
        ({"search": [2, 64]}, "search="),
        ({"model": "pca"}, "a PCA has nothing that tune searches"),
        ({"model": "nothing"}, "there is no model 'nothing'"),
        ({"model": model(batch_size=0)}, "batch_size=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"table": QTable({"x": [1.0]})}, "does not say at which wavelengths"),
        ({"model": model(conditioned=True)}, "no column 'redshift'"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(tmp_path, change, word):
    arguments = {"model": model(), "table": spectra()} | SMALL | change
    with pytest.raises(InputError, match=word):
        ac.tune(folder=tmp_path / "t", **arguments)
    assert not (tmp_path / "t" / "journal.log").exists() or not (tmp_path / "t" / "journal.log").read_text()


def test_too_few_spectra_are_told(tmp_path):
    table = spectra()
    table["ivar"][1:] = 0
    with pytest.raises(InputError, match="1 spectra can be used, too few"):
        ac.tune(model(), table, folder=tmp_path / "t", **SMALL)
    table["flux"][:] = -10 * u.Jy  # all medians are negative
    table["ivar"][:] = 1 / u.Jy**2
    with pytest.raises(InputError, match="none of the 72 spectra can be used"):
        ac.tune(model(), table, folder=tmp_path / "t", **SMALL)
    table["ivar"][:] = 0
    with pytest.raises(InputError, match="none of the 72 spectra can be used"):
        ac.tune(model(), table, folder=tmp_path / "t", **SMALL)


def test_a_folder_that_cannot_be_meant_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; give a folder"):
        ac.tune(model(), spectra(), folder=tmp_path / "file", **SMALL)
    with pytest.raises(InputError, match="there is no folder"):
        ac.tune(model(), spectra(), folder=tmp_path / "a" / "b", **SMALL)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "best.safetensors").write_text("mine")
    with pytest.raises(InputError, match="not of a search that can go on"):
        ac.tune(model(), spectra(), folder=mine, **SMALL)
    assert (mine / "best.safetensors").read_text() == "mine"
    (mine / "best.safetensors").unlink()
    (mine / "journal.log").write_text("my own notes")
    with pytest.raises(InputError, match="is no journal of a search"):
        ac.tune(model(), spectra(), folder=mine, **SMALL)
    assert (mine / "journal.log").read_text() == "my own notes"


def test_a_damaged_journal_is_told_in_one_line(whole, tmp_path):
    _, folder, _ = whole
    lines = (folder / "journal.log").read_text().splitlines()
    for number, damage in enumerate(("{", json.dumps({"op_code": 99}), json.dumps({"op_code": 4}))):
        place = tmp_path / f"t{number}"
        place.mkdir()
        (place / "journal.log").write_text("\n".join([*lines[:5], damage, *lines[6:]]) + "\n")
        with pytest.raises(InputError, match=r"journal\.log is damaged"):
            ac.tune(model(), spectra(), folder=place, **SMALL)


def test_two_searches_in_one_folder_are_not_possible(tmp_path):
    inner: list[str] = []

    def meddle(row: dict) -> None:
        with pytest.raises(InputError, match="another program is searching") as told:
            ac.tune(model(), spectra(), folder=tmp_path / "t", **SMALL)
        inner.append(str(told.value))

    arguments = SMALL | {"n_latent": 1, "trials": 1}
    ac.tune(model(epochs=1), spectra(), folder=tmp_path / "t", on_trial=meddle, **arguments)
    assert len(inner) == 1


def test_a_full_disk_is_told_and_the_search_goes_on_later(whole, tmp_path, monkeypatch):
    table, _, _ = whole
    import optuna.storages.journal as storages

    plain, left = storages.JournalFileBackend.append_logs, [60]

    def full(self: object, logs: list) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        plain(self, logs)

    monkeypatch.setattr(storages.JournalFileBackend, "append_logs", full)
    with pytest.raises(InputError, match="cannot go on: No space left on device; make room"):
        ac.tune(model(), spectra(), folder=tmp_path / "t", **SMALL)
    assert same(ac.tune(model(), spectra(), folder=tmp_path / "t", **SMALL), table)


def test_spectra_without_a_median_are_neither_learned_from_nor_judged_by(tmp_path):
    data = spectra()
    data["flux"][::2] *= -1
    arguments = SMALL | {"n_latent": 1, "trials": 1, "held_out": 0.5}
    table = ac.tune(model(epochs=2), data, folder=tmp_path / "t", **arguments)
    rows = load_model(tmp_path / "t" / "best.safetensors").held_out_rows_
    assert (rows % 2 == 1).all()
    assert len(rows) == table.meta["held_out_rows"] == 18
