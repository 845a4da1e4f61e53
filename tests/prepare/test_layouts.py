"""Every layout that the ISIC Archive, its challenges and people with folders use, on small made data."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from melascope.errors import DataError
from melascope.prepare.layouts.table import read_table
from melascope.prepare.records import read_records

JPEG_IDS = ("ISIC_0000001", "ISIC_0000002", "ISIC_0000003", "ISIC_0000004")


def image(path):
    """One image of its own: records are read without looking at pixels, so one pixel is enough."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = tuple(np.frombuffer(path.as_posix().encode(), np.uint8)[-8:-5])
    Image.new("RGB", (1, 1), colour).save(path)


def images(folder, *names):
    for name in names or JPEG_IDS:
        image(folder / (name if "." in name else f"{name}.jpg"))
    return folder


def pack(folder):
    """The folder as a ZIP beside it, its name the first part of every member's."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{folder.name}/{file.relative_to(folder).as_posix()}")
    return path


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def labels(records):
    rows = records.table.set_index("image_id")[["malignant", "melanoma"]].astype(object)
    return {name: tuple(None if pd.isna(v) else bool(v) for v in row) for name, row in rows.T.items()}


def column(records, name):
    values = records.table.set_index("image_id")[name].astype(object)
    return {key: None if pd.isna(value) else value for key, value in values.items()}


MELANOMA, CANCER, BENIGN, OPEN = (True, True), (True, False), (False, False), (None, None)


# Class folders


@pytest.mark.parametrize("zipped", [False, True])
def test_class_folders_with_splits(tmp_path, zipped):
    folder = images(
        tmp_path / "skin",
        "train/benign/ISIC_0000001.jpg",
        "train/malignant/ISIC_0000002.jpg",
        "val/benign/ISIC_0000003.JPG",
        "test/malignant/ISIC_0000004.png",
    )
    records = read_records([pack(folder) if zipped else folder])
    assert labels(records) == dict(zip(JPEG_IDS, [BENIGN, (True, None), BENIGN, (True, None)], strict=True))
    assert column(records, "given_split") == dict(
        zip(JPEG_IDS, ["train", "train", "validation", "test"], strict=True)
    )
    assert set(records.table["source"]) == {"skin"}
    assert records.table[["modality", "year", "license"]].isna().all(axis=None)


def test_class_folders_without_splits_take_diagnosis_words(tmp_path):
    names = ("mel/a.jpg", "nv/a.jpg", "Basal Cell Carcinoma/a.jpg", "Actinic_Keratosis/b.jpg", "rest/c.jpg")
    records = read_records([images(tmp_path / "mine", *names)])
    assert labels(records) == {
        "mine/mel/a": MELANOMA,
        "mine/nv/a": BENIGN,
        "mine/Basal Cell Carcinoma/a": CANCER,
        "mine/Actinic_Keratosis/b": (None, False),
        "mine/rest/c": OPEN,
    }
    assert column(records, "excluded")["mine/rest/c"] == "no label"
    assert records.table["given_split"].isna().all()


def test_masks_and_hidden_files_are_passed_over(tmp_path):
    folder = images(tmp_path / "d", "benign/ISIC_0000001.jpg", "malignant/ISIC_0000002.jpg")
    images(folder, "benign/ISIC_0000001_superpixels.png", "benign/ISIC_0000001_segmentation.png")
    images(folder, "benign/.hidden.jpg", ".cache/benign/x.jpg", "__MACOSX/benign/._ISIC_0000001.jpg")
    write(folder / "benign/notes.txt", "x")
    for source in (folder, pack(folder)):
        records = read_records([source])
        assert sorted(records.table["image_id"]) == ["ISIC_0000001", "ISIC_0000002"]
        assert records.inputs["trees"][0]["masks_passed_over"] == 2


def test_links_do_not_lead_out_of_a_folder(tmp_path):
    images(tmp_path / "secret/benign", "a.jpg")
    folder = images(tmp_path / "open", "benign/b.jpg", "malignant/c.jpg")
    (folder / "benign/link.jpg").symlink_to(tmp_path / "secret/benign/a.jpg")
    (folder / "malignant/away").symlink_to(tmp_path / "secret")
    (folder / "benign/dangling.jpg").symlink_to(tmp_path / "nothing.jpg")
    os.mkfifo(folder / "benign/pipe.jpg")  # reading it would block forever
    assert len(read_records([folder]).table) == 2


# ISIC Archive


EXPORT = (
    "isic_id,attribution,copyright_license,age_approx,anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,"
    "diagnosis_confirm_type,fitzpatrick_skin_type,image_manipulation,image_type,lesion_id,patient_id,sex\n"
    "ISIC_0000001,\t=Clínica,CC-BY,55,anterior torso,Malignant,"
    "Malignant melanocytic proliferations (Melanoma),Melanoma Invasive,histopathology,II,,dermoscopic,"
    "IL_0000001,IP_0000001,female\n"
    'ISIC_0000002,"A, B",CC-0,,,Benign,,,,,instrument only,dermoscopic,,,\n'
    "ISIC_0000003,X,CC-0,,,Benign,,,,,,clinical: close-up,IL_0000001,,\n"
    "ISIC_0000004,X,CC-0,,,Indeterminate,,,,,altered,dermoscopic,,,\n"
    "ISIC_0000009,X,CC-0,,,Benign,,,,,,dermoscopic,,,\n"
)


@pytest.mark.parametrize("zipped", [False, True])
def test_archive_export(tmp_path, zipped):
    folder = images(tmp_path / "ISIC-images", *JPEG_IDS)
    image(folder / "ISIC_0000005.jpg")
    write(folder / "metadata.csv", EXPORT, "utf-8-sig")
    records = read_records([pack(folder) if zipped else folder])
    assert labels(records) == dict(
        zip([*JPEG_IDS, "ISIC_0000005"], [MELANOMA, BENIGN, BENIGN, OPEN, OPEN], strict=True)
    )
    assert list(column(records, "excluded").values()) == [
        "",
        "",
        "not dermoscopic: clinical: close-up",
        "altered image",
        "no label",
    ]
    first = records.table.iloc[0]
    assert first[["source", "attribution", "license"]].tolist() == [
        "ISIC Archive/=Clínica",
        "=Clínica",
        "CC-BY",
    ]
    assert first[["lesion_id", "patient_id", "sex", "site"]].tolist() == [
        "IL_0000001",
        "IP_0000001",
        "female",
        "trunk",
    ]
    assert first[["age_approx", "skin_type", "confirmed_by"]].tolist() == [55.0, "II", "histopathology"]
    table = records.inputs["tables"][0]
    assert table["layout"] == "ISIC Archive metadata"
    assert (table["rows"], table["rows_without_image"]) == (5, 1)
    assert table["first_without_image"] == ["ISIC_0000009"]


def test_an_export_of_the_isic_command_and_its_older_columns(tmp_path):
    folder = images(tmp_path / "old")
    write(
        folder / "metadata.csv",
        "isic_id,attribution,benign_malignant,diagnosis,pixels_x,pixels_y\n"
        "ISIC_0000001,X,malignant,melanoma,10,10\n"
        "ISIC_0000002,X,benign,nevus,10,10\n"
        "ISIC_0000003,X,malignant,,10,10\n"
        "ISIC_0000004,X,indeterminate/malignant,,10,10\n",
    )
    assert list(labels(read_records([folder])).values()) == [MELANOMA, BENIGN, (True, None), OPEN]


# Challenges


def test_2016_has_no_header_and_may_count(tmp_path):
    train = images(tmp_path / "ISBI2016_ISIC_Part3_Training_Data", "ISIC_0000001", "ISIC_0000002")
    test = images(tmp_path / "ISBI2016_ISIC_Part3_Test_Data", "ISIC_0000003", "ISIC_0000004")
    a = write(tmp_path / "a.csv", "ISIC_0000001,benign\r\nISIC_0000002,malignant\r\n")
    b = write(tmp_path / "b.csv", "ISIC_0000003,0.0\nISIC_0000004,1.0\n")
    records = read_records([pack(train), test, a, b])
    assert labels(records) == dict(zip(JPEG_IDS, [BENIGN, (True, None), BENIGN, (True, None)], strict=True))
    assert set(records.table["source"]) == {"ISIC 2016"}
    assert set(records.table["license"]) == {"CC-0"}
    assert column(records, "given_split") == dict(
        zip(JPEG_IDS, ["train", "train", "test", "test"], strict=True)
    )


def test_2016_with_the_header_of_a_copy(tmp_path):
    table = write(tmp_path / "x.csv", "img_id,Label\nISIC_0000001,benign\nISIC_0000002,malignant\n")
    records = read_records([images(tmp_path / "i", "ISIC_0000001", "ISIC_0000002"), table])
    assert list(labels(records).values()) == [BENIGN, (True, None)]


def test_2017_what_is_neither_is_a_nevus(tmp_path):
    table = write(
        tmp_path / "gt.csv",
        "seborrheic_keratosis,image_id,melanoma\n"
        "0.0,ISIC_0000001,1.0\n1.0,ISIC_0000002,0.0\n0.0,ISIC_0000003,0.0\n1.0,ISIC_0000004,1.0\n",
    )
    records = read_records([table, images(tmp_path / "ISIC-2017_Training_Data")])
    assert list(labels(records).values()) == [MELANOMA, BENIGN, BENIGN, OPEN]
    diagnoses = ["melanoma", "seborrheic keratosis", "nevus", None]
    assert list(column(records, "diagnosis").values()) == diagnoses
    assert column(records, "excluded")["ISIC_0000004"].startswith("unreadable row 5 of gt.csv: both")
    assert records.inputs["tables"][0]["unreadable_rows"] == 1
    assert column(records, "year") == dict(zip(JPEG_IDS, [2017, 2017, 2017, None], strict=True))


@pytest.mark.parametrize(
    "header", ["image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", "image,AKIEC,BCC,BKL,DF,MEL,NV,VASC"]
)
def test_2018_by_name_in_any_order(tmp_path, header):
    classes = ["MEL", "NV", "AKIEC", "BCC"]
    codes = header.split(",")[1:]
    rows = [
        ",".join([name, *("1.0" if code == mine else "0.0" for code in codes)])
        for name, mine in zip(JPEG_IDS, classes, strict=True)
    ]
    truth = write(tmp_path / "t/ISIC2018_Task3_Training_GroundTruth.csv", "\n".join([header, *rows]))
    groups = write(
        tmp_path / "g.csv",
        "image,lesion_id,diagnosis_confirm_type\nISIC_0000001,HAM_0000007,histopathology\n",
    )
    records = read_records([images(tmp_path / "ISIC2018_Task3_Training_Input"), pack(truth.parent), groups])
    assert list(labels(records).values()) == [MELANOMA, BENIGN, (None, False), CANCER]
    assert column(records, "lesion_id")["ISIC_0000001"] == "HAM_0000007"
    assert set(records.table["source"]) == {"ISIC 2018"}
    assert column(records, "excluded")["ISIC_0000003"] == ""  # melanoma is known to be absent


def test_2019_names_lesions_weights_and_clinics(tmp_path):
    names = ("ISIC_0000001_downsampled", "ISIC_0000002", "ISIC_0035068", "ISIC_0000004")
    truth = write(
        tmp_path / "truth.csv",
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK,score_weight,validation_weight\n"
        "ISIC_0000001_downsampled,1,0,0,0,0,0,0,0,0,1.0,0\n"
        "ISIC_0000002,0,0,0,0,0,0,0,1,0,1.0,0\n"
        "ISIC_0035068,0,1,0,0,0,0,0,0,0,1.0,0\n"
        "ISIC_0000004,0,0,0,0,0,0,0,0,1,0.0,0\n",
    )
    metadata = write(
        tmp_path / "metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_0000001_downsampled,55.0,anterior torso,MSK4_0011169,female\n"
        "ISIC_0000002,,,BCN_0000550,male\n",
    )
    records = read_records([truth, metadata, images(tmp_path / "in", *names)])
    assert labels(records) == {
        "ISIC_0000001": MELANOMA,
        "ISIC_0000002": CANCER,
        "ISIC_0000004": OPEN,
        "ISIC_0035068": BENIGN,
    }
    sources = column(records, "source")
    assert [sources[name] for name in sorted(sources)] == [
        "ISIC 2019/MSK",
        "ISIC 2019/BCN",
        "ISIC 2019",
        "ISIC 2019",
    ]
    excluded = column(records, "excluded")
    assert excluded["ISIC_0035068"] == excluded["ISIC_0000004"] == "of no weight in the official scoring"
    assert excluded["ISIC_0000001"] == ""


def test_2020_with_its_list_of_duplicates(tmp_path):
    truth = write(
        tmp_path / "truth.csv",
        "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
        "benign_malignant,target\n"
        "ISIC_0000001,IP_1,IL_1,male,45.0,head/neck,unknown,benign,0\n"
        "ISIC_0000002,IP_1,IL_2,female,45.0,torso,melanoma,malignant,1\n"
        "ISIC_0000003,IP_2,IL_3,female,,,atypical melanocytic proliferation,benign,0\n"
        "ISIC_0000004,IP_3,IL_4,female,,,nevus,benign,\n",
    )
    pairs = write(tmp_path / "dup.csv", "image_name_1,image_name_2\nISIC_0000001,ISIC_0000003\n")
    records = read_records([images(tmp_path / "jpeg"), truth, pairs])
    assert list(labels(records).values()) == [BENIGN, MELANOMA, (None, False), OPEN]
    assert column(records, "patient_id")["ISIC_0000002"] == "IP_1"
    assert column(records, "site") == dict(zip(JPEG_IDS, ["head/neck", "trunk", None, None], strict=True))
    assert records.official == [("ISIC_0000001", "ISIC_0000003")]


def test_ham10000_names_its_clinics(tmp_path):
    table = write(
        tmp_path / "m.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
        "HAM_0000118,ISIC_0000001,bkl,histo,80.0,male,scalp,vidir_modern\n"
        "HAM_0000119,ISIC_0000002,mel,follow_up,,unknown,unknown,rosendahl\n"
        "HAM_0000119,ISIC_0000003,akiec,consensus,5,female,back,rosendahl\n",
    )
    records = read_records([images(tmp_path / "HAM10000_images_part_1"), table])
    assert list(labels(records).values()) == [BENIGN, MELANOMA, (None, False), OPEN]
    assert column(records, "source")["ISIC_0000001"] == "HAM10000/vidir_modern"
    assert column(records, "site") == dict(zip(JPEG_IDS, ["head/neck", None, "trunk", None], strict=True))
    assert column(records, "sex")["ISIC_0000002"] is None
    assert column(records, "confirmed_by")["ISIC_0000001"] == "histopathology"
    assert column(records, "excluded")["ISIC_0000004"] == "no label"


def test_milk10k_labels_lesions_not_images(tmp_path):
    folder = images(
        tmp_path / "MILK10k_Training_Input",
        "IL_0000001/ISIC_0000001.jpg",
        "IL_0000001/ISIC_0000002.jpg",
        "IL_0000002/ISIC_0000003.jpg",
        "IL_0000002/ISIC_0000004.jpg",
    )
    truth = write(
        tmp_path / "truth.csv",
        "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC\n"
        "IL_0000001,0,0,0,0,0,0,0,1.0,0,0,0\nIL_0000002,0,0,0,0,0,0,0,0,0,1.0,0\n",
    )
    rows = "".join(
        f"IL_000000{1 + i // 2},{kind},{name},MILK study team,CC-BY-NC,instrument only,55,male,3,foot\n"
        for i, (name, kind) in enumerate(
            zip(JPEG_IDS, ["clinical: close-up", "dermoscopic"] * 2, strict=True)
        )
    )
    metadata = write(
        tmp_path / "meta.csv",
        "lesion_id,image_type,isic_id,attribution,copyright_license,image_manipulation,age_approx,sex,"
        f"skin_tone_class,site\n{rows}",
    )
    records = read_records([pack(folder), truth, metadata])
    assert list(labels(records).values()) == [MELANOMA, MELANOMA, CANCER, CANCER]
    assert list(column(records, "excluded").values()) == ["not dermoscopic: clinical: close-up", ""] * 2
    assert column(records, "lesion_id")["ISIC_0000002"] == "IL_0000001"
    assert column(records, "site")["ISIC_0000002"] == "lower extremity"


def test_a_plain_table(tmp_path):
    folder = images(tmp_path / "own", "Läsion 1.jpg", "b.png")
    table = write(tmp_path / "t.csv", "filename;diagnosis\nLäsion 1.jpg;Melanoma\nb.png;nevus\n", "utf-16")
    records = read_records([folder, table])
    assert labels(records) == {"Läsion 1": MELANOMA, "b": BENIGN}


# Several at once


def test_all_in_one_folder_of_downloads(tmp_path):
    """What `fetch` leaves: ZIPs and tables side by side."""
    raw = tmp_path / "raw"
    (raw / "ISIC-2017_Training_Data.zip").parent.mkdir()
    pack(images(raw / "ISIC-2017_Training_Data", "ISIC_0000001", "ISIC_0000002"))
    for file in (raw / "ISIC-2017_Training_Data").iterdir():
        file.unlink()
    (raw / "ISIC-2017_Training_Data").rmdir()
    write(raw / "gt.csv", "image_id,melanoma,seborrheic_keratosis\nISIC_0000001,1,0\nISIC_0000002,0,0\n")
    write(raw / "strange.csv", "when,where\n1,2\n")
    records = read_records([raw])
    assert labels(records) == {"ISIC_0000001": MELANOMA, "ISIC_0000002": BENIGN}
    assert records.inputs["tables_passed_over"][0]["path"] == str(raw / "strange.csv")
    # Given twice, by folder and by name, it is still there once.
    again = read_records([raw, raw / "ISIC-2017_Training_Data.zip", raw])
    pd.testing.assert_frame_equal(again.table, records.table)


def test_the_order_of_sources_does_not_matter(tmp_path):
    sources = [
        images(tmp_path / "a", "benign/ISIC_0000001.jpg", "malignant/ISIC_0000002.jpg"),
        images(tmp_path / "b", "ISIC_0000003", "ISIC_0000004"),
        write(tmp_path / "1.csv", "image_id,melanoma,seborrheic_keratosis\nISIC_0000003,1,0\n"),
        write(tmp_path / "2.csv", "lesion_id,image_id,dx,dx_type\nHAM_1,ISIC_0000004,nv,histo\n"),
    ]
    forward, backward = read_records(sources), read_records(sources[::-1])
    pd.testing.assert_frame_equal(forward.table, backward.table)


def test_folders_of_one_name_stay_apart(tmp_path):
    for where in ("a/images", "b/images", "c/train", "c/test"):
        images(tmp_path / where, "benign/1.jpg", "malignant/1.jpg")
    records = read_records([tmp_path / where for where in ("a/images", "b/images", "c/train", "c/test")])
    assert records.table["image_id"].is_unique
    assert records.table["source"].value_counts().to_dict() == {"a": 2, "b": 2, "c": 4}
    assert records.table["given_split"].value_counts().to_dict() == {"train": 2, "test": 2}


def test_a_stray_table_beside_an_archive_is_not_picked_up(tmp_path):
    archive = pack(images(tmp_path / "in", "ISIC_0000001"))
    write(tmp_path / "gt.csv", "image_id,melanoma,seborrheic_keratosis\nISIC_0000001,1,0\n")
    with pytest.raises(DataError, match="none with a label"):
        read_records([archive])


def test_a_table_does_not_relabel_class_folders_of_another_data_set(tmp_path):
    folder = images(tmp_path / "own", *(f"benign/ISIC_{i:07d}.jpg" for i in range(9)), "malignant/x.jpg")
    other = images(tmp_path / "ham", "ISIC_0000001", "ISIC_0000011")
    table = write(
        tmp_path / "m.csv",
        "lesion_id,image_id,dx,dataset\nHAM_1,ISIC_0000001,mel,rosendahl\nHAM_2,ISIC_0000011,nv,rosendahl\n",
    )
    rows = read_records([folder, other, table]).table
    same = rows[rows["image_id"] == "ISIC_0000001"].set_index("source")["malignant"]
    assert same.to_dict() == {"own": False, "HAM10000/rosendahl": True}


def test_tables_that_disagree_exclude_the_image(tmp_path):
    a = write(tmp_path / "a.csv", "ISIC_0000001,malignant\nISIC_0000002,benign\n")
    b = write(
        tmp_path / "b.csv", "image_id,melanoma,seborrheic_keratosis\nISIC_0000001,0,0\nISIC_0000002,0,0\n"
    )
    records = read_records([images(tmp_path / "i", "ISIC_0000001", "ISIC_0000002"), a, b])
    assert list(column(records, "excluded").values()) == ["its labels disagree", ""]


# Bad input


def test_unknown_columns_are_named_with_what_would_be_accepted(tmp_path):
    table = write(tmp_path / "t.csv", "Datum;Ort\n1;2\n")
    with pytest.raises(
        DataError, match=r"t\.csv: unknown columns: datum, ort\. Accepted: HAM10000"
    ) as caught:
        read_records([images(tmp_path / "i"), table])
    assert "\n" not in str(caught.value)


def test_a_name_that_no_table_can_hold_is_one_line(tmp_path):
    folder = images(tmp_path / "i", "benign/a.jpg")
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/benign/\xff.jpg")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError, match="rename the file"):
        read_records([folder])


@given(st.one_of(st.binary(max_size=80), st.text('ISC_01,;\t\n\r"aé\0', max_size=80).map(str.encode)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_table_or_one_error(tmp_path, data):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    try:
        table = read_table(str(path))
    except DataError:
        return
    assert table.rows or table.broken
    assert all(set(cells) == set(table.columns) for _, cells in table.rows)


def test_broken_rows_are_counted_and_named(tmp_path):
    table = write(
        tmp_path / "t.csv",
        "image_id,melanoma,seborrheic_keratosis\nISIC_0000001,1,0\nISIC_0000002,perhaps,0\nISIC_0000003,1\n"
        "\n,0,0\nISIC_0000004,0,0,,\n",
    )
    records = read_records([images(tmp_path / "i"), table])
    assert labels(records)["ISIC_0000004"] == BENIGN
    assert column(records, "excluded")["ISIC_0000002"].startswith("unreadable row 3 of t.csv: melanoma is")
    table = records.inputs["tables"][0]
    assert table["unreadable_rows"] == 3
    assert table["first_unreadable"][0].startswith("line 4: 2 cells instead of 3")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: p / "nothing", "no such folder, ZIP or CSV"),
        (lambda p: (p / "empty").mkdir() or p / "empty", "empty: no images"),
        (lambda p: write(p / "a.zip", "no archive"), "not a readable ZIP"),
        (lambda p: write(p / "a.zip", ""), "not a readable ZIP"),
        (lambda p: write(p / "a.csv", ""), "holds no rows"),
        (lambda p: write(p / "a.csv", "image_id,dx,lesion_id\n"), "holds no rows"),
        (lambda p: write(p / "a.csv", "ISIC_0000001,benign\n"), "no images here"),
        (lambda p: write(p / "a.tar", "x"), "not a folder"),
        (lambda p: images(p / "masks", "ISIC_0000001_segmentation.png"), "only 1 masks"),
        (lambda p: images(p / "loose", "a.jpg", "b.jpg"), "2 images, none with a label"),
    ],
)
def test_sources_that_cannot_be_used_are_one_line(tmp_path, make, reason):
    source = make(tmp_path)
    with pytest.raises(DataError, match=reason) as caught:
        read_records([source])
    assert Path(source).name in str(caught.value)
    assert "\n" not in str(caught.value)
