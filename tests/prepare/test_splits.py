"""Groups and splits: what must stay together does, shares hold, and only the seed decides."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melascope.errors import DataError
from melascope.manifest import SPLITS
from melascope.prepare import groups, splits

FRACTIONS = (0.7, 0.15, 0.15)


def frame(**columns):
    n = len(next(iter(columns.values())))
    defaults = {
        "image_id": [f"ISIC_{i:07d}" for i in range(n)],
        "source": ["made"] * n,
        "patient_id": [None] * n,
        "lesion_id": [None] * n,
    }
    return pd.DataFrame(defaults | columns)


def pairs(*edges):
    first, second = np.array(edges, dtype=np.intp).reshape(-1, 2).T
    return first, second


def group(rows, hashes=None, *edges):
    rows = rows.assign(pixel_hash=hashes if hashes is not None else [str(i) for i in range(len(rows))])
    component = groups.components(groups.keys(rows), *pairs(*edges))
    return groups.name_groups(component, rows["image_id"]).tolist()


# Groups


def test_patient_lesion_id_pixels_and_copies_chain_into_one_group():
    rows = frame(
        image_id=["f", "e", "d", "c", "b", "a", "z"],
        patient_id=["IP_1", "IP_1", None, None, None, None, None],
        lesion_id=[None, "IL_2", "IL_2", None, None, None, None],
    )
    hashes = ["1", "2", "3", "3", "5", "6", "7"]
    assert group(rows, hashes, (3, 4), (4, 5)) == ["a"] * 6 + ["z"]


def test_missing_values_tie_nothing():
    rows = frame(image_id=["a", "b", "c"])
    assert group(rows, [None, None, None]) == ["a", "b", "c"]


def test_only_ids_of_the_archive_tie_two_data_sets():
    rows = frame(
        source=["ISIC 2019/HAM", "HAM10000/rosendahl", "mine", "yours", "yours/one"],
        lesion_id=["HAM_0000118", "HAM_0000118", "7", "7", "7"],
    )
    names = group(rows)
    assert names[0] == names[1]
    assert names[2] != names[3]
    assert names[3] == names[4]


def test_the_same_image_in_two_data_sets_is_one_group():
    rows = frame(image_id=["ISIC_1", "ISIC_1"], source=["a", "b"])
    assert group(rows) == ["ISIC_1", "ISIC_1"]


def test_official_duplicates_are_looked_up_by_id():
    rows = groups.official_pairs(pd.Series(["a", "b", "c", "b"]), [("c", "b"), ("a", "missing")])
    assert rows.tolist() == [[2], [1]]
    assert groups.official_pairs(pd.Series(["a"]), []).shape == (2, 0)


def test_two_images_with_one_id_clash_unless_they_are_copies():
    rows = frame(
        image_id=np.repeat(["same", "copy", "near", "turned", "apart", "gone"], 2),
        source=["s"] * 9 + ["t"] + ["s"] * 2,
    )
    hashes = pd.Series(["1", "2", "3", "3", "5", "6", "10", "11", "7", "8", "", "9"])
    grey = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    grey[7] = np.rot90(grey[6][:, ::-1])
    clash = groups.clashes(rows, hashes, grey, *pairs((4, 5)))
    assert clash.tolist() == [True, True] + [False] * 10


def test_the_largest_chains_of_duplicates_are_reported():
    ids = pd.Series(list("abcdefgh"))
    assert groups.chains(ids, *pairs((0, 1), (2, 3), (3, 7), (2, 7))) == [
        {"images": 3, "first": ["c", "d", "h"]}
    ]
    assert groups.chains(ids, *pairs()) == []


edges = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30)
ids = st.lists(st.sampled_from([None, "IL_1", "IL_2", "IL_3"]), min_size=20, max_size=20)


@given(edges, ids, ids)
def test_groups_are_the_components_that_a_slow_search_finds(edges, patients, lesions):
    rows = frame(patient_id=patients, lesion_id=lesions)
    near = defaultdict(set)
    for i in range(20):
        for j in range(20):
            tied = any(ids[i] is not None and ids[i] == ids[j] for ids in (patients, lesions))
            if tied or (i, j) in edges or (j, i) in edges:
                near[i].add(j)
    expected = []
    for i in range(20):
        seen, todo = {i}, [i]
        while todo:
            todo += [j for j in near[todo.pop()] if j not in seen and not seen.add(j)]
        expected.append(rows["image_id"][min(seen)])
    assert group(rows, None, *edges) == expected


# Splits


@st.composite
def data_sets(draw):
    n = draw(st.integers(1, 300))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number = random.integers(0, draw(st.integers(1, n)), n)
    malignant = pd.array(random.choice([True, False, None], n, p=[0.4, 0.5, 0.1]), dtype="boolean")
    melanoma = pd.array(random.choice([True, False, None], n), dtype="boolean") & malignant
    return frame(
        source=random.choice(["a", "b", "c"], n, p=[0.7, 0.2, 0.1]),
        group=[f"g{i}" for i in number],
        malignant=malignant,
        melanoma=melanoma,
    )


@given(data_sets(), st.integers(0, 5))
@settings(deadline=None)
def test_no_group_spans_splits_and_shares_hold(rows, seed):
    split = splits.assign(rows, FRACTIONS, seed)
    assert split.isin(SPLITS).all()
    assert len(rows.groupby([rows["group"], split])) == rows["group"].nunique()
    assert len(splits.leaks(rows, split)) == 0
    # No assignment can be closer than its largest group; each of the four labels in each source rounds once.
    largest = rows["group"].value_counts().iloc[0]
    for name, share in zip(SPLITS, FRACTIONS, strict=True):
        assert abs((split == name).sum() - share * len(rows)) <= 4 * 3 * largest + 1


@given(data_sets(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_rows_does_not_matter(rows, random):
    split = splits.assign(rows, FRACTIONS, 0)
    shuffled = rows.sample(frac=1, random_state=random.randint(0, 2**32 - 1))
    pd.testing.assert_series_equal(splits.assign(shuffled, FRACTIONS, 0).sort_index(), split)


def test_every_stratum_is_dealt_in_the_shares():
    n = 2000
    random = np.random.default_rng(0)
    rows = frame(
        source=random.choice(["a", "b"], n),
        group=[f"g{i}" for i in range(n)],
        malignant=pd.array(random.random(n) < 0.2, dtype="boolean"),
        melanoma=pd.array([None] * n, dtype="boolean"),
    )
    counts = (
        rows.assign(split=splits.assign(rows, FRACTIONS, 0)).groupby(["source", "malignant", "split"]).size()
    )
    for (source, malignant), of_stratum in counts.groupby(level=[0, 1]):
        size = ((rows["source"] == source) & (rows["malignant"] == malignant)).sum()
        for name, share in zip(SPLITS, FRACTIONS, strict=True):
            assert abs(of_stratum[source, malignant, name] - share * size) <= 2


def test_large_groups_are_shared_out_like_small_ones():
    """Dealt to where most is lacking in images, all the large ones would go to the training split."""
    sizes = np.repeat([4, 2, 1], [20, 40, 400])
    rows = frame(
        group=[f"g{i}" for i, size in enumerate(sizes) for _ in range(size)],
        malignant=pd.array([False] * sizes.sum(), dtype="boolean"),
        melanoma=pd.array([False] * sizes.sum(), dtype="boolean"),
    )
    split = splits.assign(rows, FRACTIONS, 0).groupby(rows["group"]).first()
    size = rows["group"].value_counts().reindex(split.index)
    for one in (4, 2, 1):
        shares = split[size == one].value_counts(normalize=True)
        assert shares.reindex(SPLITS).tolist() == pytest.approx(FRACTIONS, abs=0.06)


def test_a_group_larger_than_a_share_is_trained_on():
    size = {"huge": 40, "large": 30} | {f"g{i}": 1 for i in range(30)}
    rows = frame(
        group=[name for name, images in size.items() for _ in range(images)],
        malignant=pd.array([False] * 100, dtype="boolean"),
        melanoma=pd.array([False] * 100, dtype="boolean"),
    )
    split = splits.assign(rows, FRACTIONS, 0)
    assert set(split[rows["group"].isin(["huge", "large"])]) == {"train"}
    assert split.value_counts().to_dict() == {"train": 70, "validation": 15, "test": 15}


def test_rare_labels_of_many_sources_reach_every_split():
    """One melanoma a source: assigned source by source, all would go to the training split."""
    rows = frame(
        source=[f"s{i:02d}" for i in range(40)],
        group=[f"g{i}" for i in range(40)],
        malignant=pd.array([True] * 40, dtype="boolean"),
        melanoma=pd.array([True] * 40, dtype="boolean"),
    )
    assert splits.assign(rows, FRACTIONS, 0).value_counts().to_dict() == {
        "train": 28,
        "validation": 6,
        "test": 6,
    }


def test_the_seed_decides_and_a_share_of_nothing_gets_nothing():
    n = 200
    rows = frame(
        group=[f"g{i}" for i in range(n)],
        malignant=pd.array([True, False] * (n // 2), dtype="boolean"),
        melanoma=pd.array([None] * n, dtype="boolean"),
    )
    first = splits.assign(rows, FRACTIONS, 0)
    assert first.equals(splits.assign(rows, FRACTIONS, 0))
    assert not first.equals(splits.assign(rows, FRACTIONS, 1))
    assert set(splits.assign(rows, (0.8, 0.2, 0), 0)) == {"train", "validation"}


def test_kept_splits_are_kept_and_leaks_are_listed(tmp_path):
    listing = tmp_path / "leaks.csv"
    rows = frame(
        path=list("abcd"), group=["g", "g", "h", "i"], given_split=["train", "test", "train", "validation"]
    )
    with pytest.raises(DataError, match=r"1 groups .* 1 of 1 test images are affected: g \(train, test\)"):
        splits.keep(rows, allow_leaks=False, listing=listing)
    assert pd.read_csv(listing)["image_id"].tolist() == ["ISIC_0000001", "ISIC_0000000"]
    assert splits.keep(rows, allow_leaks=True, listing=listing).tolist() == rows["given_split"].tolist()
    assert splits.keep(rows[1:], allow_leaks=False, listing=listing).tolist() == [
        "test",
        "train",
        "validation",
    ]
    assert not listing.exists()
    with pytest.raises(DataError, match="1 of 4 images have no split"):
        splits.keep(
            rows.assign(given_split=["train", "test", None, "train"]), allow_leaks=True, listing=listing
        )
