"""The page in a real browser: Debian's Chromium, driven headless."""

import base64
import csv
import io
import json
import shutil
import time
from contextlib import contextmanager

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from helpers.server import serving
from melascope.cli.main import app as command
from melascope.infer.predictor import Predictor
from melascope.labels import NOTICE
from melascope.model.card import Card
from melascope.model.folder import SHIPPED
from melascope.synthetic import MELANOMA, NEVUS, draw
from melascope.synthetic.camera import Style
from melascope.synthetic.clutter import clutter

pytestmark = pytest.mark.slow
TOKEN = "a-token-of-this-test"  # noqa: S105
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with lesions of both kinds, a letter, and half a file; in a folder of it, an upright TIFF."""
    folder = tmp_path_factory.mktemp("images")
    style = Style(width=640, height=480)
    for name, seed, diagnosis in (("benign", 3, NEVUS), ("malignant", 9, MELANOMA), ("weak", 8, NEVUS)):
        Image.fromarray(draw(seed, diagnosis, style).pixels).save(folder / f"{name}.jpg", quality=92)
    Image.fromarray(clutter("documents", 50_001)).save(folder / "letter.png")
    (folder / "half.jpg").write_bytes((folder / "benign.jpg").read_bytes()[:4000])
    (folder / "inner").mkdir()
    Image.fromarray(draw(9, MELANOMA, Style(width=300, height=400)).pixels).save(folder / "inner" / "up.tif")
    (folder / "notes.txt").write_text("no image")
    (folder / "benign_segmentation.png").write_bytes((folder / "letter.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def chromium():
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1280,900",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    browser.set_script_timeout(30)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def address():
    with serving() as (_, port):
        yield f"http://127.0.0.1:{port}"


class Page:
    """What a user sees and does."""

    def __init__(self, browser, address, folder):
        self.browser, self.folder = browser, folder
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        browser.get(address)

    def find(self, name):
        return self.browser.find_element(By.ID, name)

    def text(self, name):
        return self.find(name).text

    def wait(self, what):
        return WebDriverWait(self.browser, 20).until(lambda _: what())

    def ready(self):
        self.wait(lambda: self.find("identity").get_property("textContent"))

    def send(self, *paths, by="files"):
        self.ready()
        self.find(by).send_keys("\n".join(map(str, paths)))
        self.wait(lambda: self.find("settings").is_displayed() and not self.find("working").is_displayed())

    def shot(self, name):
        """Keep a picture of the whole page, to look at."""
        size = self.run("const d = document.documentElement; return [d.clientWidth, d.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        taken = self.browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        (self.folder / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))

    def run(self, script, *words):
        return self.browser.execute_script(script, *words)

    def keys(self, *keys):
        webdriver.ActionChains(self.browser).send_keys(*keys).perform()

    def focused(self):
        return self.run("const a = document.activeElement; return a.id || a.textContent.trim()")

    def box(self, name):
        return self.run("return document.getElementById(arguments[0]).getBoundingClientRect().toJSON()", name)

    def assert_no_errors(self):
        """Nothing failed, and nothing broke the page's security policy."""
        assert self.browser.get_log("browser") == []


def plain(text):
    """Without the spaces that do not break."""
    return text.replace("\xa0", " ")


@pytest.fixture
def page(chromium, address, tmp_path):
    made = Page(chromium, address, tmp_path)
    yield made
    made.assert_no_errors()


def test_an_answer_with_its_heat_map(page, files):
    started = time.perf_counter()
    page.send(files / "malignant.jpg")
    assert time.perf_counter() - started < 10
    answer = next(Predictor.load(SHIPPED).predict([str(files / "malignant.jpg")]))
    assert page.text("answer").lower() == answer.label == "malignant"
    shown = f"{100 * answer.malignant:.1f} %"
    assert page.text("pin") == shown
    scale = plain(page.find("scale").get_attribute("aria-label"))
    threshold = f"The threshold is {100 * answer.threshold:.1f} %."
    assert scale.startswith(f"Probability of malignancy {shown}. {threshold} Malignant is ruled out")
    assert shown in plain(page.find("live").get_property("textContent"))
    assert NOTICE in page.find("result").text
    assert "non-commercial" in page.text("licence")
    # The map lies on the central square, which is all that the network sees.
    assert page.wait(page.find("heat").is_displayed)
    frame, heat = page.box("frame"), page.box("heat")
    assert heat["width"] == pytest.approx(heat["height"], abs=1) == pytest.approx(frame["height"], abs=1)
    assert heat["left"] - frame["left"] == pytest.approx(frame["right"] - heat["right"], abs=1)
    assert frame["width"] / frame["height"] == pytest.approx(640 / 480, abs=0.01)
    assert page.run("return document.getElementById('heat').naturalWidth") == 256
    strength = page.find("strength")
    strength.send_keys(Keys.HOME)
    assert page.find("heat").value_of_css_property("opacity") == "0"
    strength.send_keys(Keys.END)
    assert page.find("heat").value_of_css_property("opacity") == "1"
    page.shot("one")
    page.find("heat-on").send_keys(Keys.SPACE)
    assert not page.find("heat").is_displayed()
    assert not strength.is_enabled()
    elsewhere = (
        "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(origin))"
    )
    assert [name for name in page.run(elsewhere) if not name.startswith("blob:")] == []


def test_weak_refused_and_unreadable_images(page, files):
    page.send(files / "weak.jpg")
    assert "cannot be ruled out" in page.text("remark")
    page.find("clear").click()
    page.send(files / "letter.png")
    assert page.text("answer") == "Not classified"
    assert "does not look like a dermoscopic image" in page.text("remark")
    assert not page.find("numbers").is_displayed()
    assert not page.find("heat").is_displayed()
    page.shot("refused")
    page.find("clear").click()
    page.send(files / "half.jpg")
    assert page.text("answer") == "Unreadable"
    assert "could not be read" in page.text("remark")
    page.shot("error")


def test_a_file_that_browsers_do_not_show(page, files):
    page.send(files / "inner" / "up.tif")
    assert page.wait(lambda: page.run("return document.getElementById('lesion').naturalWidth") == 300)
    frame, heat = page.box("frame"), page.box("seen")
    assert heat["height"] == pytest.approx(frame["width"], abs=1)
    page.shot("tiff")


def rows(page):
    texts = page.run("return [...document.querySelectorAll('#rows tr')].map(row => row.innerText)")
    return [plain(text) for text in texts]


def test_such_a_file_among_many(page, files):
    page.send(files, by="folder")
    page.browser.find_element(By.XPATH, "//tbody//button[contains(., 'up.tif')]").click()
    assert page.wait(lambda: page.run("return document.getElementById('lesion').naturalWidth") == 300)
    assert page.wait(page.find("heat").is_displayed)
    page.find("target").send_keys("melanoma")
    assert page.wait(
        lambda: page.find("heat").is_displayed() or "the heat map is empty" in page.text("heat-note")
    )


def test_a_folder_becomes_a_table_with_export(page, files, tmp_path, monkeypatch):
    page.send(files, by="folder")
    assert page.text("summary").startswith("6 images: ")
    assert len(rows(page)) == 6
    header = page.browser.find_element(By.CSS_SELECTOR, "[data-key=malignant]")
    header.find_element(By.TAG_NAME, "button").click()
    assert header.get_attribute("aria-sort") == "descending"
    numbers = [float(row.partition(" %")[0].split()[-1]) for row in rows(page) if " %" in row]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 4
    page.browser.find_element(By.XPATH, "//tbody//button[contains(., 'malignant.jpg')]").click()
    assert (page.text("answer"), page.focused()) == ("Malignant", "answer")
    assert page.wait(page.find("heat").is_displayed)
    page.shot("table")
    page.browser.find_element(By.CSS_SELECTOR, "[data-key=name] button").click()
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    page.find("csv").click()
    page.find("json").click()
    assert page.wait(lambda: (tmp_path / "melascope.csv").exists() and (tmp_path / "melascope.json").exists())
    monkeypatch.chdir(files.parent)
    names = [row["path"] for row in json.loads((tmp_path / "melascope.json").read_text())]
    assert names == sorted(names)
    printed = CliRunner().invoke(command, ["predict", *names, "--format", "csv"]).stdout
    expected = list(csv.DictReader(io.StringIO(printed)))
    exported = list(csv.DictReader(io.StringIO((tmp_path / "melascope.csv").read_text(encoding="utf-8"))))
    assert [list(row) for row in exported] == [list(row) for row in expected]
    for given, row in zip(exported, expected, strict=True):
        for field, value in row.items():
            same = (
                float(given[field]) == float(value)
                if field in ("malignant", "threshold") and value
                else False
            )
            assert same or given[field] == value, field
    lines = [
        json.loads(line)
        for line in CliRunner().invoke(command, ["predict", *names, "--format", "jsonl"]).stdout.splitlines()
    ]
    assert json.loads((tmp_path / "melascope.json").read_text()) == lines


def test_another_operating_point_gives_new_answers(page, files):
    page.send(files / "weak.jpg")
    assert page.text("answer") == "Malignant"
    page.find("sensitivity").send_keys("sensitivity 82")
    assert page.wait(lambda: page.text("answer") == "Benign")
    at = Card.read(SHIPPED.with_suffix(".json")).at(0.82).threshold["malignant"]
    assert f"{100 * at:.1f} %" in page.text("facts")


def test_images_can_be_dropped_and_pasted(page, files):
    page.ready()
    drop = """
        const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
        const carried = new DataTransfer();
        carried.items.add(new File([bytes], arguments[1] + ".jpg", { type: "image/jpeg" }));
        const kind = arguments[1] === "drop" ? DragEvent : ClipboardEvent;
        const carries = { dataTransfer: carried, clipboardData: carried };
        document.body.dispatchEvent(new kind(arguments[1], { bubbles: true, cancelable: true, ...carries }));
    """
    data = base64.b64encode((files / "benign.jpg").read_bytes()).decode()
    page.run(drop, data, "drop")
    assert page.wait(lambda: page.text("file") == "drop.jpg" and page.text("answer") == "Benign")
    page.run(drop, data, "paste")
    assert page.wait(lambda: len(rows(page)) == 2 and "Benign" in rows(page)[1])


def test_a_keyboard_is_enough(page, files):
    page.ready()
    order = []
    for _ in range(5):
        page.keys(Keys.TAB)
        order.append(page.focused())
    assert order[0] == "Skip to the images"
    assert order[1] == "open-card"
    assert order[2:4] == ["Choose images", "Choose a folder"]
    page.find("open-card").send_keys(Keys.ENTER)
    assert "ROC-AUC" in page.text("card-content")
    assert "non-commercial" in page.text("card-content")
    page.browser.save_screenshot(str(page.folder / "card.png"))
    page.keys(Keys.ESCAPE)
    assert not page.find("card").is_displayed()
    assert page.focused() == "open-card"
    page.send(files, by="folder")
    page.browser.find_element(By.XPATH, "//tbody//button[contains(., 'weak.jpg')]").send_keys(Keys.ENTER)
    assert (page.focused(), page.text("file").rpartition("/")[2]) == ("answer", "weak.jpg")


def test_screen_readers_get_a_name_for_each_control(page, files):
    page.send(files, by="folder")
    nodes = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = (
        "button",
        "slider",
        "switch",
        "combobox",
        "table",
        "image",
        "region",
        "link",
        "progressbar",
        "columnheader",
    )
    names_of = {}
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in roles and not node["ignored"]:
            names_of.setdefault(role, []).append(node.get("name", {}).get("value"))
    assert all(all(names) for names in names_of.values()), names_of
    assert {"button", "slider", "switch", "combobox", "image", "columnheader"} <= set(names_of), names_of


CONTRAST = """
    const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
    const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
    const ground = (e) => { for (; e; e = e.parentElement) {
        const c = parse(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255]; };
    const bad = [];
    for (const e of document.querySelectorAll("body *")) {
        if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
        if (!e.checkVisibility() || e.closest(".sr, script, option")) continue;
        const style = getComputedStyle(e), large = parseFloat(style.fontSize) >= 24;
        const [a, b] = [light(parse(style.color)), light(ground(e))].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        if (ratio < (large ? 3 : 4.5)) bad.push([e.textContent.trim().slice(0, 40), ratio]);
    }
    return bad;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page, files, scheme):
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.ready()
    assert page.run(CONTRAST) == []
    page.send(files, by="folder")
    assert page.run(CONTRAST) == []
    page.browser.find_element(By.XPATH, "//tbody//button[contains(., 'weak.jpg')]").click()
    assert page.run(CONTRAST) == []
    page.shot(scheme)
    page.find("open-card").click()
    assert page.run(CONTRAST) == []
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(16, 22, 29)") is (scheme == "dark")


@pytest.mark.parametrize("width", [320, 390])
def test_it_fits_a_phone(page, files, width):
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**PHONE, "width": width})
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    page.browser.refresh()
    page.send(files, by="folder")
    page.browser.find_element(By.XPATH, "//tbody//button[contains(., 'weak.jpg')]").click()
    page.shot(f"phone-{width}")
    wide = page.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide == [width, width]
    small = """return [...document.querySelectorAll("button, select")].filter(e => e.checkVisibility())
        .map(e => [e.textContent, e.getBoundingClientRect().height]).filter(([, height]) => height < 24)"""
    assert page.run(small) == []  # WCAG 2.2, 2.5.8
    camera = page.find("camera")
    assert (camera.get_attribute("capture"), camera.get_attribute("accept")) == ("environment", "image/*")
    page.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


@contextmanager
def opened(chromium, tmp_path, **environment):
    with serving(**environment) as (process, port):
        yield process, Page(chromium, f"http://127.0.0.1:{port}", tmp_path)


def test_a_server_with_a_token_asks_for_it(chromium, tmp_path, files):
    with opened(chromium, tmp_path, MELASCOPE_TOKEN=TOKEN) as (_, page):
        for token in ("a-wrong-one", TOKEN):
            assert page.wait(page.find("token").is_displayed)
            page.find("token").send_keys(token, Keys.ENTER)
        page.send(files / "benign.jpg")
        assert page.text("answer") == "Benign"
        page.run("sessionStorage.clear()")
        chromium.get_log("browser")  # refused requests are in it


def test_a_server_that_has_ended(chromium, tmp_path, files):
    with opened(chromium, tmp_path) as (process, page):
        page.ready()
        process.terminate()
        process.wait(20)
        page.find("files").send_keys(str(files / "benign.jpg"))
        assert page.wait(page.find("problem").is_displayed)
        assert "does not answer" in page.text("problem")
        assert page.find("retry").is_displayed()
        page.shot("gone")
        chromium.get_log("browser")
