"""Leave-one-source-out: the same images dealt so that one source is tested by a model that never saw it."""

import pandas as pd

from melascope import manifest
from melascope.errors import DataError

SHARED = "in one group with an image of the source that is held out"


def data_sets(table: pd.DataFrame) -> list[str]:
    """The sources of a table, the clinics of one data set (`SET/CLINIC`) taken together."""
    return sorted(_data_set(manifest.usable(table)).unique())


def hold_out(table: pd.DataFrame, held_out: str) -> pd.DataFrame:
    """Deal a table anew: the test split is one source, and what was the test split of the others is trained on.

    Images of other sources that share a patient, a lesion or a copy with the source that is held out are excluded.

    Args:
        table: a manifest.
        held_out: one of `data_sets`.

    Raises:
        DataError: if there is no such source, or no other.
    """
    found = data_sets(table)
    if held_out not in found or len(found) < 2:
        raise DataError(f"{held_out}: cannot be held out of a data set with the sources {', '.join(found)}")
    dealt = table.copy()
    used = dealt["excluded"] == ""
    test = used & (_data_set(dealt) == held_out)
    linked = used & ~test & dealt["group"].isin(dealt.loc[test, "group"])
    dealt.loc[used & (dealt["split"] == "test"), "split"] = "train"
    dealt.loc[test, "split"] = "test"
    dealt.loc[linked, "excluded"] = SHARED
    return dealt


def _data_set(table: pd.DataFrame) -> pd.Series:
    return table["source"].astype(str).str.partition("/")[0]
