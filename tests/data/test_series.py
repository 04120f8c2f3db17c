"""Tables of series: each series once, in the order of time, long as wide, CSV as Parquet."""

import csv

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nasgen.data import load

# Real series: the rows of ink in handwritten digits, 8 moments of 2 channels, 12 of each of three.
DIGITS = load_digits()
CHOSEN = np.concatenate([np.flatnonzero(DIGITS.target == label)[:12] for label in range(3)])
VALUES = np.stack([DIGITS.images[CHOSEN].sum(axis) for axis in (1, 2)], -1)
NAMES = ["zero", "one", "two"]
LABELS = [NAMES[label] for label in DIGITS.target[CHOSEN]]


def write(path, header, rows, *, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def long_rows(*, times=range(8)):
    """A row a moment, the series interleaved, time running backwards."""
    return [
        (f"s{number}", time, LABELS[number], *VALUES[number, time])
        for time in reversed(times)
        for number in range(len(LABELS))
    ]


LONG = ("series", "time", "label", "rows", "columns")


def assert_whole(data, values):
    """Every series is there once, with its own label."""
    name_of = {one.astype(np.float32).tobytes(): name for one, name in zip(values, LABELS)}  # noqa: B905
    assert len(name_of) == len(LABELS)
    for split in data[1:4]:
        raw = (split.x * data.std + data.mean).round().astype(np.float32)
        found = [name_of.pop(one.tobytes()) for one in raw]
        assert found == [data.task.class_names[label] for label in split.y]
    assert not name_of


def test_long(tmp_path):
    path = write(tmp_path / "ink.csv", LONG, long_rows())
    data, again, other = (load("own", path=path, seed=seed) for seed in (0, 0, 1))
    assert data.task[:4] == ("ink", (8, 2), 3, "classification")
    assert data.task.class_names == ("one", "two", "zero") and data.notes == ()
    assert_whole(data, VALUES)
    assert np.array_equal(data.test.x, again.test.x)
    assert not np.array_equal(data.test.x, other.test.x)


def test_without_a_time_the_order_of_rows_counts(tmp_path):
    rows = [(name, label, *values) for name, _, label, *values in reversed(long_rows())]
    path = write(tmp_path / "ink.csv", ("id", "digit", "a", "b"), rows)
    assert_whole(load("own", path=path, series="id", label="digit"), VALUES)


def test_dates_order_too(tmp_path):
    rows = [(s, f"2024-01-{t + 5:02d} 12:00", *rest) for s, t, *rest in long_rows()]
    assert_whole(load("own", path=write(tmp_path / "ink.csv", LONG, rows)), VALUES)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_wide(tmp_path, delimiter):
    rows = [(label, *values) for label, values in zip(LABELS, VALUES[..., 0], strict=True)]
    header = ("label", *(f"t{time}" for time in range(8)))
    data = load("own", path=write(tmp_path / "ink.csv", header, rows, delimiter=delimiter))
    assert data.task.input_shape == (8, 1)
    assert_whole(data, VALUES[..., :1])


def wide(tmp_path, names, *extra, parquet=False):
    """The first channel as a wide table, with other columns before it by name."""
    columns = dict(extra) | dict(zip(names, VALUES[..., 0].T.tolist(), strict=True))
    header = ("label", *columns)
    rows = list(zip(LABELS, *columns.values(), strict=True))
    if not parquet:
        return write(tmp_path / "ink.csv", header, rows)
    frame = pytest.importorskip("pandas").DataFrame(rows, columns=header)
    pytest.importorskip("pyarrow")
    frame.to_parquet(tmp_path / "ink.parquet")
    return tmp_path / "ink.parquet"


ROWS = range(len(LABELS))
HOURS = [f"t{hour}" for hour in range(8)]


@pytest.mark.parametrize("parquet", [False, True])
@pytest.mark.parametrize(
    "extra",
    [
        ("id", [7 * row % 36 for row in ROWS]),
        ("Index", [f"person {row}" for row in ROWS]),
        ("patient", [row + 100 for row in ROWS]),
    ],
)
def test_what_names_or_counts_the_rows_is_no_moment(tmp_path, extra, parquet):
    data = load("own", path=wide(tmp_path, HOURS, extra, parquet=parquet))
    assert data.task.input_shape == (8, 1)
    assert data.notes == (f"Column {extra[0]!r} was left out: it names or counts the rows.",)
    assert_whole(data, VALUES[..., :1])


def test_an_id_of_several_rows_is_that_of_a_series(tmp_path):
    path = wide(tmp_path, HOURS, ("id", [row // 2 for row in ROWS]))
    with pytest.raises(ValueError, match="names some rows alike: set `series` to 'id'") as caught:
        load("own", path=path)
    assert "\n" not in str(caught.value)


def test_moments_that_all_count_are_moments(tmp_path):
    ramps = {f"t{hour}": [row + hour for row in ROWS] for hour in range(4)}
    path = write(
        tmp_path / "ramps.csv",
        ("label", *ramps),
        zip(LABELS, *ramps.values(), strict=True),
    )
    data = load("own", path=path)
    assert data.task.input_shape == (4, 1) and data.notes == ()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (HOURS, ()),
        ([f"{850 + 2.5 * place} nm" for place in range(8)], ()),
        ([f"2024-{month:02d}-01" for month in range(1, 9)], ()),
        ("age height weight a b c d e".split(), ("from 'age' to 'e'",)),
        (["weight", *HOURS[1:]], ("from 'weight' to 't7'",)),
        (sorted(f"t{hour}" for hour in range(5, 13)), ("from 't10' to 't9'",)),
    ],
)
def test_moments_whose_names_tell_no_order_are_said(tmp_path, names, said):
    data = load("own", path=wide(tmp_path, names))
    text = "8 columns were read as moments in the order of the file, {}."
    assert data.notes == tuple(text.format(one) for one in said)
    assert_whole(data, VALUES[..., :1])


def test_parquet_is_as_csv(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(long_rows(), columns=LONG)
    frame["label"] = frame["label"].astype("category")
    frame.sort_values("rows").to_parquet(tmp_path / "ink.parquet")  # with an index to leave out
    frame.to_csv(tmp_path / "ink.csv", index=False)
    data, same = (load("own", path=tmp_path / name) for name in ("ink.parquet", "ink.csv"))
    assert data.task == same.task
    assert_whole(data, VALUES)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_blanks_around_labels_make_no_class(tmp_path, ending):
    """As in files written by hand: `one`, ` one` and `one ` are the same; and of one series too."""
    around = ("{}", " {}", "{} ", "\t{}")
    rows = [
        (*row[:2], around[number % 4].format(row[2]), *row[3:])
        for number, row in enumerate(long_rows())
    ]
    path = write(tmp_path / "ink.csv", LONG, rows)
    if ending == "parquet":
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        path = tmp_path / "ink.parquet"
        pandas.DataFrame(rows, columns=LONG).to_parquet(path)
    data = load("own", path=path)
    assert data.task.class_names == ("one", "two", "zero")
    assert_whole(data, VALUES)


def test_labels_with_fractions_are_predicted(tmp_path):
    targets = VALUES.sum((1, 2)) + 0.5
    rows = [(target, *values) for target, values in zip(targets, VALUES[..., 0], strict=True)]
    data = load("own", path=write(tmp_path / "ink.csv", ("label", *"abcdefgh"), rows))
    assert (data.task.kind, data.task.num_classes, data.task.class_names) == ("regression", 1, ())
    found = np.concatenate([split.y[:, 0] for split in data[1:4]])
    assert np.array_equal(np.sort(found), np.sort(targets).astype(np.float32))


def test_whole_numbers_of_few_examples_may_be_meant_to_be_predicted(tmp_path):
    rows = [(20 + number // 3, *values) for number, values in enumerate(VALUES[..., 0])]
    path = write(tmp_path / "ages.csv", ("label", *HOURS), rows)
    what = r"got 3 of class 0 \('20'\) \(for numbers to predict .*, --config.task.kind=regression"
    with pytest.raises(ValueError, match=what) as caught:
        load("own", path=path)
    assert "\n" not in str(caught.value)
    assert load("own", path=path, kind="regression").task.kind == "regression"


def test_classes_of_few_examples_with_names_are_not(tmp_path):
    rows = [(f"age {n // 3}", *values) for n, values in enumerate(VALUES[..., 0])]
    path = write(tmp_path / "ages.csv", ("label", *HOURS), rows)
    with pytest.raises(ValueError, match=r"got 3 of class 0 \('age 0'\)\.$"):
        load("own", path=path)


def test_lengths_are_padded_and_cropped_with_a_word(tmp_path):
    rows = [row for row in long_rows() if row[0] != "s3" or row[1] < 5]
    path = write(tmp_path / "ink.csv", LONG, rows)
    with pytest.raises(ValueError, match=r"has 5 \('s3'\) to 8 \('s\d+'\): set `length`"):
        load("own", path=path)
    data = load("own", path=path, length=6)
    assert data.notes == (
        "1 of 36 series were padded with their last value to 6 moments.",
        "35 of 36 series were cropped to their first 6 moments.",
    )
    values = VALUES[:, :6].copy()
    values[3, 5] = values[3, 4]
    assert_whole(data, values)


def changed(row, column, value):
    rows = [list(one) for one in long_rows()]
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("header", "rows", "options", "message"),
    [
        (LONG, changed(40, 3, "nan"), {}, "1 series of ink.csv have others, the first is 's4' in"),
        (LONG, changed(40, 4, ""), {}, "the first is 's4' in column 'columns'"),
        (LONG, changed(40, 4, "inf"), {}, "the first is 's4' in column 'columns'"),
        (LONG, changed(40, 3, "much"), {}, "numbers .* ink.csv has 'much' in 'rows'"),
        (LONG, changed(40, 2, "one"), {}, r"one label a series; series 's4' .* \['one', 'zero'\]"),
        (LONG, changed(40, 1, 7), {}, "each time once a series; series 's4'"),
        (LONG, changed(40, 1, 7)[:-1], {"time": "hour"}, "`time` must name a column .* got 'hour'"),
        (LONG, long_rows(), {"label": "lable"}, "`label` must name a column .* got 'lable', and"),
        (LONG, long_rows(), {"series": "id"}, "`series` must name a column"),
        (LONG, long_rows(), {"length": 1}, "`length` must be in 2.."),
        (LONG, long_rows(), {"kind": "multi_label"}, "classification or regression; got 'multi"),
        (LONG, long_rows(), {"kind": "regression"}, "numbers as labels of a regression; got"),
        (LONG, [row for row in long_rows() if row[2] == "one"], {}, "two classes or more; got one"),
        (LONG, long_rows()[:-36:12], {}, "must have"),
        (LONG, [], {}, "must have rows; ink.csv has none"),
        (LONG[:3], [row[:3] for row in long_rows()], {}, "must have columns of values"),
        (LONG[:4], long_rows(), {}, "line 2 has 5 fields, not 4"),
        (("series", "a", "a", "b", "c"), long_rows(), {}, "none twice; ink.csv has 'a' 2 times"),
        (("series", "a", "", "b", "c"), long_rows(), {}, "ink.csv has a column without a name"),
        (("x", "y", "kind", "a", "b"), long_rows(), {}, "`label` must name a column"),
        (LONG, changed(0, 2, ""), {}, "one label a series"),
        (LONG, [(*r[:2], "", *r[3:]) for r in long_rows()], {}, "a label for each series; 36"),
        (LONG, [(*r[:2], " ", *r[3:]) for r in long_rows()], {}, "a label for each series; 36"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, header, rows, options, message):
    path = write(tmp_path / "ink.csv", header, rows)
    with pytest.raises(ValueError, match=message) as caught:
        load("own", path=path, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"label,a\n\xff\xfe,1\n", "a.csv cannot be read"),
        ("a.csv", b"", "must have rows; a.csv has none"),
        ("a.csv", b'label,a\n"x,1\n', "a.csv cannot be read"),
        ("a.csv", b"label,a\n" + b"9" * 200_000 + b",1\n", "field larger than field limit"),
        ("a.parquet", b"PAR1 no table PAR1", "is no Parquet file"),
        ("a.parquet", b"", "is no Parquet file"),
        ("a.xlsx", b"PK", "must be a folder of images or end in .npz, .csv, .parquet"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load("own", path=tmp_path / name)
    assert "\n" not in str(caught.value)


def test_nested_columns_are_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"label": ["a", "b"], "x": [[1.0], [2.0, 3.0]]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="plain columns; 'x' is list"):
        load("own", path=tmp_path / "a.parquet")


def test_columns_of_one_name_are_refused_in_parquet_too(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = [pyarrow.array(["a", "b"]), *(pyarrow.array([1.0, 2.0]),) * 3]
    table = pyarrow.table(columns, names=["label", "x", "y ", "y"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="none twice; a.parquet has 'y' 2 times") as caught:
        load("own", path=tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setattr("nasgen.data.own.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'pip install "nasgen\[parquet\]"'):
        load("own", path=tmp_path / "a.parquet")
