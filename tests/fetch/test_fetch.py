"""Images from the archive: all of them, whole and with their licences, over a bad network too."""

import email.utils
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from helpers.fake_isic import ArchiveServer, Faults
from helpers.fetching import DERMOSCOPIC, archive, contents, fetch, melascope, names, pictures, rows
from helpers.isic_images import attribution_txt, license_txt, make_images
from helpers.isic_search import search
from melascope.errors import DataError
from melascope.fetch.isic_api import Entry
from melascope.fetch.ledger import Ledger, Row
from melascope.fetch.listing import Listing, Selection
from melascope.prepare.records import read_records


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("archive"), 260)


@pytest.fixture
def server(images):
    with ArchiveServer(images) as server:
        yield server


# A whole fetch


def test_a_fetch_is_complete_and_byte_equal(server, images, tmp_path):
    assert fetch(server, tmp_path / "raw") == []
    wanted = search(images, DERMOSCOPIC)
    assert len(wanted) == 182  # more than a page, and the page ends between images of one time
    assert pictures(tmp_path / "raw") == names(wanted)
    for image in wanted:
        assert (tmp_path / "raw" / image.name).read_bytes() == image.data
    table = rows(tmp_path / "raw")
    assert list(table) == sorted(image.isic_id for image in wanted)
    columns = list(next(iter(table.values())))
    assert columns[:3] == ["isic_id", "attribution", "copyright_license"]
    assert columns[3:] == sorted(
        {name for image in wanted for name in {**image.acquisition, **image.clinical}}
    )
    assert table[wanted[1].isic_id]["mel_thick_mm"] == str(wanted[1].clinical["mel_thick_mm"])
    assert (tmp_path / "raw" / "attribution.txt").read_text(encoding="utf-8") == attribution_txt(wanted)
    assert (tmp_path / "raw" / "licenses" / "CC-BY.txt").read_text() == license_txt("CC-BY")
    ledger = [json.loads(line) for line in (tmp_path / "raw" / "ledger.jsonl").read_text().splitlines()]
    assert {row["path"] for row in ledger} == {
        *names(wanted),
        *(f"licenses/{x}.txt" for x in ("CC-0", "CC-BY", "CC-BY-NC")),
    }
    for row in ledger:
        data = (tmp_path / "raw" / row["path"]).read_bytes()
        assert (row["size"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert row["state"] == "done"
        assert row["address"].startswith(server.base)
    assert not (tmp_path / "raw" / "listing.jsonl").exists()
    assert not (tmp_path / "raw" / ".partial").exists()


def test_a_repeated_fetch_changes_nothing(server, tmp_path):
    fetch(server, tmp_path)
    before, asked = contents(tmp_path), server.asked("/images/ISIC")
    fetch(server, tmp_path)
    assert contents(tmp_path) == before
    assert server.asked("/images/ISIC") == asked


def test_another_query_adds_to_the_folder(server, images, tmp_path):
    fetch(server, tmp_path, "diagnosis_3:Nevus")
    fetch(server, tmp_path, "sex:male")
    both = {image.isic_id for image in (*search(images, "diagnosis_3:Nevus"), *search(images, "sex:male"))}
    assert set(rows(tmp_path)) == both
    assert {path.stem for path in tmp_path.glob("ISIC_*")} == both


def test_a_fetched_folder_goes_into_prepare(server, images, tmp_path):
    fetch(server, tmp_path / "raw")
    records = read_records([tmp_path / "raw"])
    table = records.table.set_index("image_id")
    assert len(table) == 182
    assert records.inputs["tables_passed_over"] == []
    formula = next(
        image for image in images if image.attribution.startswith("=") and image.isic_id in table.index
    )
    assert table.loc[formula.isic_id, "attribution"] == formula.attribution  # the guarding TAB came and went
    assert rows(tmp_path / "raw")[formula.isic_id]["attribution"] == f"\t{formula.attribution}"
    assert set(table["license"]) == {"CC-0", "CC-BY", "CC-BY-NC"}
    melanoma = next(
        i for i in images if i.clinical.get("diagnosis_3") == "Melanoma Invasive" and i.isic_id in table.index
    )
    assert table.loc[melanoma.isic_id, "melanoma"]


def test_licences_limit_collections_and_metadata_only(server, images, tmp_path):
    fetch(server, tmp_path / "free", f"({DERMOSCOPIC}) AND copyright_license:CC-0", licenses=("CC-0",))
    assert {row["copyright_license"] for row in rows(tmp_path / "free").values()} == {"CC-0"}
    assert [path.name for path in (tmp_path / "free" / "licenses").iterdir()] == ["CC-0.txt"]
    fetch(server, tmp_path / "few", limit=7)
    assert pictures(tmp_path / "few") == names(search(images, DERMOSCOPIC)[:7])
    fetch(server, tmp_path / "some", collections=(65, 212))
    assert pictures(tmp_path / "some") == names(search(images, DERMOSCOPIC, "65,212"))
    fetch(server, tmp_path / "tables", with_images=False)
    assert len(rows(tmp_path / "tables")) == 182
    assert pictures(tmp_path / "tables") == set()
    assert (tmp_path / "tables" / "licenses" / "CC-BY-NC.txt").exists()


# Listing


@pytest.mark.parametrize("count", [0, None])
def test_pages_that_repeat_rows_list_each_image_once(server, tmp_path, count):
    server.repeats, server.count = True, count
    assert fetch(server, tmp_path) == []
    assert len(rows(tmp_path)) == len(pictures(tmp_path)) == 182


def test_a_listing_shorter_than_the_count_is_an_error(server, images, tmp_path):
    server.count = 5
    with pytest.raises(DataError, match=r"counted 187 images but listed only 182"):
        fetch(server, tmp_path)
    server.count = 0
    assert fetch(server, tmp_path) == []
    assert pictures(tmp_path) == names(search(images, DERMOSCOPIC))


@pytest.mark.parametrize("query", ["age_approx:[50 TO *} AND -sex:male", 'diagnosis_3:"Melanoma in*"'])
def test_a_query_reaches_the_archive_unchanged(server, tmp_path, query):
    fetch(server, tmp_path, query, with_images=False)
    searches = [parse_qs(urlsplit(path).query) for path, _ in server.requests if "/search/?" in path]
    assert {words["query"][0] for words in searches} == {query}


def test_a_large_listing_says_how_long_it_takes(server, tmp_path, monkeypatch):
    messages = []
    fetch(server, tmp_path / "small", notify=messages.append)
    assert messages == []
    monkeypatch.setattr("melascope.fetch.isic.LARGE_LISTING", 50)
    fetch(server, tmp_path / "large", notify=messages.append)
    (message,) = messages
    assert "listing 82 more images takes about 0 minutes" in message
    assert f"{server.base}snapshots/ISIC_images.zip" in message


def test_a_torn_listing_is_resumed(server, tmp_path):
    asked = Selection(DERMOSCOPIC)
    listing = Listing(tmp_path, asked)
    pages = archive(server).pages(DERMOSCOPIC)
    listing.add(next(pages))
    with open(listing.path, "ab") as file:
        file.write(b'{"next": "cD0yMDI0", "entries": [{"isic_id"')
    assert fetch(server, tmp_path) == []
    assert len(pictures(tmp_path)) == 182
    assert sum("cursor=" in path for path, _ in server.requests) == 1  # the first page was not asked again


def test_the_listing_of_another_fetch_is_kept(server, tmp_path):
    Listing(tmp_path, Selection("sex:male"))
    with pytest.raises(DataError, match=r"listing\.jsonl: belongs to another, unfinished fetch \(sex:male\)"):
        fetch(server, tmp_path)


# Faults


def test_one_fault_in_five_requests_changes_nothing(server, tmp_path):
    fetch(server, tmp_path / "calm")
    server.faults = Faults(5)
    assert fetch(server, tmp_path / "storm") == []
    assert set(server.faults.made) == set(server.faults.kinds)
    assert contents(tmp_path / "storm") == contents(tmp_path / "calm")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("404", "refused with status 404"),
        ("html", "a web page in place of an image"),
        ("empty", "0 bytes in place of"),
        ("cut", "bytes in place of"),
    ],
)
def test_a_lasting_fault_is_listed_and_the_rest_is_there(server, tmp_path, kind, reason):
    name = sorted(pictures_of(server))[4]
    server.faults = Faults(always={name: kind})
    failed = fetch(server, tmp_path)
    assert [row.path for row in failed] == [name]
    assert reason in str(failed[0].reason)
    assert len(pictures(tmp_path)) == 181
    assert not (tmp_path / ".partial").exists()
    server.faults = Faults()
    before = server.asked("/images/ISIC")
    assert fetch(server, tmp_path) == []
    assert server.asked("/images/ISIC") == before + 1
    assert len(pictures(tmp_path)) == 182


def pictures_of(server):
    return names(search(server.images, DERMOSCOPIC))


def test_a_damaged_image_of_the_right_size_is_listed(server, images, tmp_path):
    image = next(i for i in search(images, DERMOSCOPIC) if images.index(i) > 4)
    whole = image.data
    image.path.write_bytes(bytes(len(whole)))
    try:
        failed = fetch(server, tmp_path, limit=20)
    finally:
        image.path.write_bytes(whole)
    assert [row.path for row in failed] == [image.name]
    assert "not an image" in str(failed[0].reason)


def test_a_large_image_is_checked_too(tmp_path):
    images = make_images(tmp_path / "archive", 3, side=700)
    whole, damaged = images[0].data, bytes(images[1].path.stat().st_size)
    assert min(len(whole), len(damaged)) > 2**20  # more than is kept in memory
    images[1].path.write_bytes(damaged)
    with ArchiveServer(images) as server:
        failed = fetch(server, tmp_path / "raw")
    assert [row.path for row in failed] == [images[1].path.name]
    assert "not an image" in str(failed[0].reason)
    assert (tmp_path / "raw" / images[0].path.name).read_bytes() == whole


def test_an_expired_address_is_replaced(server, tmp_path):
    listing = Listing(tmp_path, Selection(DERMOSCOPIC, limit=3))
    page = next(archive(server).pages(DERMOSCOPIC, limit=3))
    old = [
        Entry(**{**vars(e), "url": f"{server.base}signed/{e.isic_id}.jpg?Signature=x"}) for e in page.entries
    ]
    listing.add(type(page)(old, None, 3))
    assert fetch(server, tmp_path, limit=3) == []
    assert len(pictures(tmp_path)) == 3


def test_a_lost_network_ends_the_fetch_in_one_line(server, tmp_path):
    server.faults = Faults(always={".jpg": "503", ".png": "503"})
    with pytest.raises(DataError, match=r"status 503, 8 times; 24 images in a row failed"):
        fetch(server, tmp_path)
    server.faults = Faults()
    assert fetch(server, tmp_path) == []


def test_many_refusals_do_not_end_the_fetch(server, tmp_path):
    server.faults = Faults(always={".jpg": "404"})
    failed = fetch(server, tmp_path)
    assert len(failed) == 181
    assert pictures(tmp_path) == {"ISIC_0000017.png"}


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured_in_both_forms(server, form):
    in_two_seconds = email.utils.formatdate(time.time() + 2, usegmt=True)  # cut to whole seconds
    server.busy = [{"seconds": "1", "date": in_two_seconds}[form]]
    start = time.monotonic()
    assert archive(server).size(DERMOSCOPIC)
    assert time.monotonic() - start > 0.9


def test_a_server_that_asks_for_a_long_wait_is_given_up(server):
    server.busy = ["3600"]
    with pytest.raises(DataError, match="asks to come back in 3600 s"):
        archive(server).size(DERMOSCOPIC)


def test_a_folder_that_cannot_be_written_is_an_error(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        fetch(server, tmp_path / "file" / "raw")
    (tmp_path / "raw" / "ISIC_0000027.jpg").mkdir(parents=True)
    with pytest.raises(DataError, match=r"ISIC_0000027\.jpg: cannot be written"):
        fetch(server, tmp_path / "raw")


def test_too_small_a_disk_is_an_error_before_any_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"needs .* kB; only 1 kB free on this disk"):
        fetch(server, tmp_path)
    assert server.asked("/images/ISIC") == 0


# Killed


def start(server, *words):
    # What runs in the background of a script, as a test run may, ignores SIGINT, and so would its children.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import melascope.__main__"
    )
    command = [sys.executable, "-c", code, "fetch", *map(str, words)]
    environment = {**os.environ, **server.environment}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_killed_fetch_resumes_to_the_same_folder(server, tmp_path):
    assert melascope(server, "isic", "--out", tmp_path / "whole").exit_code == 0
    server.latency = 0.05
    words = ("isic", "--out", tmp_path / "raw", "--jobs", "4")
    states = set()
    for images in (0, 3, 20, 60, 110, 160):  # killed while listing, then with so many images there
        process = start(server, *words)
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            there = len(pictures(tmp_path / "raw"))
            if there >= images and (images or (tmp_path / "raw" / "listing.jsonl").exists()):
                break
            time.sleep(0.005)
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        states.add(len(pictures(tmp_path / "raw")))
        assert (tmp_path / "raw" / "listing.jsonl").exists()
    assert len(states) > 4
    server.latency = 0
    process = start(server, *words)
    assert process.communicate(timeout=60)[0].strip().endswith(str(tmp_path / "raw" / "summary.html"))
    assert process.returncode == 0
    assert contents(tmp_path / "raw") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_the_same_command_resumes(server, tmp_path):
    server.latency = 0.1
    process = start(server, "isic", "--out", tmp_path, "--jobs", "2")
    while not len(pictures(tmp_path)) > 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode not in (0, None)
    assert "Traceback" not in errors
    assert "run the same command to resume" in errors
    server.latency = 0
    assert fetch(server, tmp_path) == []
    assert len(pictures(tmp_path)) == 182


def test_a_folder_takes_one_fetch_at_a_time(server, tmp_path):
    from melascope.fetch.folder import opened

    with opened(tmp_path), pytest.raises(DataError, match="another fetch fills this folder"):
        fetch(server, tmp_path)


def test_a_torn_ledger_keeps_its_whole_lines(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"1234")
    with Ledger(tmp_path) as ledger:
        ledger.add(Row("a.jpg", "http://x/a.jpg", "failed", reason="lost"))
        ledger.add(Row("a.jpg", "http://x/a.jpg", "done", 4, "ab"))
    with open(tmp_path / "ledger.jsonl", "ab") as file:
        file.write(b'{"path": "b.jpg", "addr')
    with Ledger(tmp_path) as ledger:
        assert ledger.has("a.jpg")
        assert not ledger.has("b.jpg")
        ledger.add(Row("c.jpg", "http://x/c.jpg", "done", 4, "cd"))
    with Ledger(tmp_path) as ledger:
        assert ledger.last("c.jpg") == Row("c.jpg", "http://x/c.jpg", "done", 4, "cd")
        assert not ledger.has("c.jpg")  # no such file
        ledger.compact()
        ledger.add(Row("b.jpg", "http://x/b.jpg", "done", 4, "ef"))
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a.jpg", "c.jpg", "b.jpg"]


# The command


def test_a_dry_run_shows_number_and_size_only(server, images, tmp_path):
    size = sum(image.path.stat().st_size for image in search(images, DERMOSCOPIC))
    result = melascope(server, "isic", "--out", tmp_path / "raw", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"182 images, {size / 1000:.0f} kB; ")
    assert "dermoscopic images only" in result.stderr
    assert not (tmp_path / "raw").exists()
    few = melascope(server, "isic", "--out", tmp_path / "raw", "--dry-run", "--limit", 91)
    assert few.stdout.startswith(f"91 images, about {size / 2000:.0f} kB; ")


def test_old_fields_are_translated_with_a_note(server, images, tmp_path):
    query = "benign_malignant:malignant AND -diagnosis:melanoma AND image_type:dermoscopic"
    result = melascope(server, "isic", "--query", query, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "no longer has benign_malignant:malignant; the query uses diagnosis_1:Malignant" in result.stderr
    assert "the query uses diagnosis_3:Melanoma*" in result.stderr
    assert "dermoscopic images only" not in result.stderr
    today = "diagnosis_1:Malignant AND -diagnosis_3:Melanoma* AND image_type:dermoscopic"
    assert pictures(tmp_path) == names(search(images, today))


def test_a_failure_is_named_and_makes_the_exit_code_1(server, tmp_path):
    server.faults = Faults(always={"ISIC_0000027.jpg": "404"})
    result = melascope(server, "isic", "--out", tmp_path, "--limit", 5)
    assert result.exit_code == 1
    assert f"{tmp_path}/ISIC_0000027.jpg: " in result.stderr
    assert "refused with status 404" in result.stderr
    assert "1 file could not be downloaded; run the same command to retry" in result.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--query", "colour:blue"], "cannot read this query (Could not parse search query.)"),
        (["--query", "melanoma"], "the archive cannot read this query"),
        (["--query", "sex:male) OR (sex:female"], "parentheses or quotes do not match"),
        (["--query", "diagnosis:wart"], "no longer has the field diagnosis"),
        (["--query", "sex:male AND sex:female"], "the archive has no such image"),
        (["--collections", "9999"], "no public collection 9999"),
        (["--collections", "one"], "give numbers"),
        (["--license", "MIT"], "CC-0, CC-BY, CC-BY-NC"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_no_folder(server, tmp_path, words, reason):
    result = melascope(server, "isic", *words, "--out", tmp_path / "raw")
    assert isinstance(result.exception, DataError)
    assert reason in str(result.exception)
    assert len(str(result.exception).splitlines()) == 1
    assert not (tmp_path / "raw").exists()


# The big run


@pytest.mark.slow
def test_two_thousand_images_with_faults_take_little_memory(tmp_path):
    images = make_images(tmp_path / "archive", 2000, side=24)
    code = (
        "import sys; from melascope.cli.main import app; "
        "sys.argv[0] = 'melascope'; app(standalone_mode=False); "
        # The process's own peak; that of `getrusage` is of whoever started it, too.
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    peaks = []
    for number, limit in enumerate((200, 2000)):
        with ArchiveServer(images) as server:
            server.faults, out = Faults(5), tmp_path / f"raw{number}"
            command = ["fetch", "isic", "--query", "image_type:*", "--limit", str(limit), "--out", str(out)]
            environment = {**os.environ, **server.environment}
            done = subprocess.run(
                [sys.executable, "-c", code, *command],
                capture_output=True,
                text=True,
                env=environment,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert sum(server.faults.made.values()) > limit / 5
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
        assert len(pictures(out)) == limit
    for image in images:
        assert (out / image.name).read_bytes() == image.data
    assert set(rows(out)) == {image.isic_id for image in images}
    assert peaks[1] < peaks[0] + 20, peaks  # MiB, for ten times as many
    assert peaks[1] < 250, peaks
