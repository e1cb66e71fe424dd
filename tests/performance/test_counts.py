"""The table of models: one row a cube."""

import numpy as np
import pytest
from astropy.table import QTable

from hisatools.performance import Voxels
from hisatools.performance.counts import model_row, stack_rows


def voxels(*where, shape=(3, 4, 5)):
    mask = np.zeros(shape, bool)
    mask.flat[list(where)] = True
    return Voxels(mask, np.ones((len(where), 4), np.float32))


def test_row_counts_what_was_put_in_found_and_true():
    row = model_row(7, voxels(1, 2, 3, 4), voxels(3, 4, 5), seconds=2.5)[0]
    assert [row[name] for name in ("seed", "n_in_all", "n_in_det", "n_out_all", "n_out_true")] == [
        7,
        4,
        2,
        3,
        2,
    ]
    assert row["seconds"].to_value("s") == 2.5


def test_accepted_voxels_are_counted_by_pass():
    first_pass = np.zeros((3, 4, 5), np.uint8)
    first_pass.flat[[3, 4, 5]] = 1, 3, 3
    row = model_row(1, voxels(1), voxels(3, 4, 5), first_pass)
    assert row["first_found"].tolist() == [[1, 0, 2]]


def test_nothing_found_is_nothing_in_the_first_pass():
    row = model_row(1, voxels(1), voxels(), np.zeros((3, 4, 5), np.uint8))
    assert row["first_found"].tolist() == [[0]]


@pytest.mark.parametrize("order", [1, -1])
def test_rows_of_different_numbers_of_passes_stack(order):
    rows = [QTable({"first_found": [[5]]}), QTable({"first_found": [[3, 0, 1]]})][::order]
    assert stack_rows(rows)["first_found"].tolist() == [[5, 0, 0], [3, 0, 1]][::order]


def test_stacking_leaves_the_parts_alone():
    rows = [QTable({"first_found": [[5]]}), QTable({"first_found": [[3, 0, 1]]})]
    stack_rows(rows)
    assert rows[0]["first_found"].shape == (1, 1)


def test_no_rows_are_an_empty_table():
    assert len(stack_rows([QTable(), QTable()])) == 0
