"""A result file is whole, knows what it is, and is refused with one clear line where it is not."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from experiments import store
from experiments.variables import Variable

VARIABLES = {
    "law": Variable(("law",), np.asarray(["ERM", "Mixup"]), "1", "law"),
    "seed": Variable(("seed",), np.arange(3), "1", "seed"),
    "risk": Variable(("law", "seed"), np.arange(6.0).reshape(2, 3), "target squared", "test error"),
    "resolved": Variable(("law",), np.asarray([True, False]), "1", "a truth value"),
}
PROVENANCE = {"configuration": {"lam": 0.5, "sizes": [1, 2], "dataset": None}}


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "result.nc"
    store.write(path, "ucurve", VARIABLES, PROVENANCE)
    return path


def test_what_was_written_is_read(stored):
    result = store.read(stored, "ucurve")
    for name, variable in VARIABLES.items():
        assert result[name].dims == variable.dims
        np.testing.assert_array_equal(result[name].values, variable.values)
        assert result[name].attrs["units"] == variable.units
        assert result[name].attrs["long_name"] == variable.long_name
    assert store.provenance_of(result)["configuration"] == PROVENANCE["configuration"]
    assert store.stored_configuration(stored, "ucurve") == PROVENANCE["configuration"]


def test_xarray_opens_a_result_by_itself(stored):
    with xr.open_dataset(stored) as opened:
        assert opened["risk"].sel(law="Mixup").values.tolist() == [3, 4, 5]


def test_nothing_but_the_result_is_left_in_the_folder(stored):
    assert [path.name for path in stored.parent.iterdir()] == ["result.nc"]


def test_a_failed_write_leaves_the_old_result_and_no_litter(stored):
    before = stored.read_bytes()
    with pytest.raises(ValueError):  # noqa: PT011 (xarray's words)
        store.write(stored, "ucurve", {"a": Variable(("x", "y"), np.arange(3), "1", "one axis short")}, {})
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.iterdir()] == ["result.nc"]


def test_a_writer_killed_midway_leaves_the_old_result_whole_and_litter_that_the_next_one_sweeps(stored):
    before = stored.read_bytes()
    # The new file has been written under its temporary name, half of it, when the process dies.
    code = (
        "import sys, time, pathlib\n"
        "def half(self, content):\n"
        "    self.open('wb').write(b'half'); print('begun', flush=True); time.sleep(600)\n"
        "pathlib.Path.write_bytes = half\n"
        "from experiments import store\n"
        f"store.write(pathlib.Path({str(stored)!r}), 'ucurve', {{}}, {{}})"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        process.kill()
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.glob("*.nc")] == ["result.nc"]
    assert len(list(stored.parent.iterdir())) == 2
    store.write(stored, "ucurve", VARIABLES, PROVENANCE)
    assert [path.name for path in stored.parent.iterdir()] == ["result.nc"]


def test_what_is_in_memory_is_what_is_read(stored):
    assert store.assemble("ucurve", VARIABLES, PROVENANCE).identical(store.read(stored))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(stored, share):
    whole = stored.read_bytes()
    stored.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"result\.nc: is not a whole result file .* run its experiment again"):
        store.read(stored)


def test_another_layout_is_refused_but_its_configuration_is_read(stored, monkeypatch):
    monkeypatch.setattr(store, "LAYOUT", 0)
    store.write(stored, "ucurve", VARIABLES, PROVENANCE)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"has layout 0, and this version of rfm reads layout 4; run its experiment"):
        store.read(stored)
    assert store.stored_configuration(stored, "ucurve") == PROVENANCE["configuration"]


def test_a_file_of_other_origin_is_refused(tmp_path):
    xr.Dataset({"a": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"other\.nc: was not written by rfm"):
        store.read(tmp_path / "other.nc")


def test_a_result_that_lacks_a_variable_is_refused(tmp_path):
    attributes = {"kind": "ucurve", "layout": store.LAYOUT, "provenance": json.dumps({"variables": ["risk"]})}
    xr.Dataset(attrs=attributes).to_netcdf(tmp_path / "poor.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"poor\.nc: lacks risk"):
        store.read(tmp_path / "poor.nc")


def test_a_result_of_another_experiment_is_refused(stored):
    with pytest.raises(ValueError, match=r"is a result of `rfm ucurve`; pass one of `rfm sample-size`"):
        store.read(stored, "sample-size")


def test_the_standard_error_of_one_seed_is_unknown():
    mean, error = store.over_seeds(xr.DataArray([2.0], dims="seed"))
    assert float(mean) == 2
    assert np.isnan(error)
    mean, error = store.over_seeds(xr.DataArray([1.0, 3.0], dims="seed"))
    assert (float(mean), float(error)) == (2, 1)
