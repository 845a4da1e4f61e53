"""The API: answers equal those of the command, limits hold, and nothing of an image is left behind."""

import asyncio
import base64
import io
import json
import logging
import re
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from typer.testing import CliRunner

from helpers import dicom_files, models
from melascope.cli.main import app as command
from melascope.explain.cam import heat_map
from melascope.explain.overlay import blend
from melascope.images import decode, square
from melascope.infer.answer import COLUMNS
from melascope.infer.predictor import Predictor
from melascope.labels import NOTICE
from melascope.model.card import Card
from melascope.model.decision import DIGITS
from melascope.model.folder import SHIPPED
from melascope.web import schema
from melascope.web.analysis import analyse
from melascope.web.app import create_app
from melascope.web.assets import assets
from melascope.web.limits import Limits

TOKEN = "a-token-of-this-test"  # noqa: S105
PATH = "/v1/predictions"


def png(seed: int = 0, **size: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(models.lesion(seed, **size)).save(file, "PNG")
    return file.getvalue()


def sent(*files: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", item) for item in files]


@pytest.fixture(scope="module")
def predictor(tiny_model) -> Predictor:
    return Predictor.load(tiny_model)


def app_of(predictor, workers: int = 1, **words) -> ASGIApp:
    """An application that analyses in this process."""
    return create_app(predictor.card, partial(analyse, predictor), workers, **words)


@pytest.fixture(scope="module")
def client(predictor):
    with TestClient(app_of(predictor, 2, hosts={"localhost"}), base_url="http://localhost") as made:
        yield made


def limited(predictor, **limits) -> TestClient:
    return TestClient(app_of(predictor, limits=Limits(**limits)), base_url="http://localhost")


def test_answers_are_those_of_the_command(client, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(models.lesion(3))
    image.save("good.jpg", quality=95)
    image.convert("CMYK").save("cmyk.jpg", quality=95)
    image.save('it\'s a "näme".png')
    Image.new("RGB", (40, 40), "white").save("small.png")
    Path("half.jpg").write_bytes(Path("good.jpg").read_bytes()[:900])
    Path("text.jpg").write_text("no image")
    Path("empty.jpg").write_bytes(b"")
    names = sorted(path.name for path in tmp_path.iterdir())
    files = sent(*((name, Path(name).read_bytes()) for name in names))
    for chosen in (None, 0.98):
        words = ["predict", *names, "--model", str(tiny_model), "--format", "jsonl"]
        printed = CliRunner().invoke(command, words + (["--sensitivity", str(chosen)] if chosen else []))
        lines = [json.loads(line) for line in printed.stdout.splitlines()]
        answer = client.post(PATH, files=files, params={"sensitivity": chosen} if chosen else {})
        assert answer.status_code == 200
        assert answer.json()["predictions"] == lines
        assert {line["status"] for line in lines} == {"ok", "refused", "error"}


def test_the_heat_map_equals_that_of_explain(client, predictor):
    data = png(4, width=300, height=200)
    row = client.post(PATH, files=sent(("a.png", data)), params={"heat": "malignant"}).json()["predictions"][
        0
    ]
    pixels = decode(data, "a.png")
    cropped = square(pixels, 256)
    layer = Image.open(io.BytesIO(base64.b64decode(row["heat"]["png"])))
    laid = Image.alpha_composite(Image.fromarray(cropped).convert("RGBA"), layer).convert("RGB")
    expected = blend(cropped, heat_map(predictor.answer(pixels).heat[0], 256))
    assert row["heat"]["responds"]
    assert np.abs(np.asarray(laid).astype(int) - expected).max() <= 2
    assert np.abs(cropped.astype(int) - expected).max() > 50


def test_a_picture_comes_back_upright_and_without_metadata(client):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "Jane Doe"
    Image.fromarray(models.lesion(1, width=400, height=200)).save(file, "TIFF", exif=exif)
    answer = client.post(PATH, files=sent(("a.tif", file.getvalue())), params={"picture": True})
    picture = base64.b64decode(answer.json()["predictions"][0]["picture"])
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (200, 400)
        assert not image.getexif()
    assert b"Jane" not in picture


def test_an_unreadable_file_has_no_pictures(client):
    answer = client.post(PATH, files=sent(("a.png", b"no")), params={"picture": True, "heat": "malignant"})
    row = answer.json()["predictions"][0]
    assert (row["status"], row["heat"], row["picture"]) == ("error", None, None)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\a.png", "a.png"),
        ("a\u202eb.png", "a?b.png"),
        ("x" * 200 + ".png", "x" * 116 + ".png"),
    ],
)
def test_a_name_is_only_repeated(client, name, shown):
    row = client.post(PATH, files=sent((name, png()))).json()["predictions"][0]
    assert (row["path"], row["status"]) == (shown, "ok")


def test_wrong_requests_get_their_status(client):
    image = ("a.png", png())

    def ask(**request):
        answer = client.post(PATH, **request)
        assert set(answer.json()) == {"detail"}
        return answer.status_code, answer.json()["detail"]

    assert ask(json={"a": 1})[0] == 415
    assert (
        ask(content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data; boundary=x"})[0] == 400
    )
    assert ask(content=b"x", headers={"content-type": "multipart/form-data"})[0] == 400
    half = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nabc'
    assert ask(content=half, headers={"content-type": "multipart/form-data; boundary=x"})[0] == 400
    no_charset = {"content-type": "multipart/form-data; boundary=x; charset=undefined"}
    assert ask(content=half + b"\r\n--x--\r\n", headers=no_charset)[0] == 400
    assert ask(files=[("file", image)]) == (422, "a part named 'file'; name each part 'files'")
    assert ask(files=[("files", (None, b"text"))])[0] == 422
    assert ask(files=sent(image), params={"sensitivity": 0.5}) == (422, "sensitivity is one of 0.95, 0.98")
    assert ask(files=sent(image), params={"sensitivity": "much"})[0] == 422
    assert ask(files=sent(image), params={"heat": "nevus"})[0] == 422
    assert ask(files=sent(image), headers={"accept": "text/html"})[0] == 406
    empty = b"--x--\r\n"
    assert ask(content=empty, headers={"content-type": "multipart/form-data; boundary=x"})[0] in (400, 422)
    assert client.get("/static/../../../etc/passwd").status_code == 404
    assert client.get(PATH).status_code == 405


def test_limits_hold(predictor):
    image = ("a.png", png())
    size = len(image[1])
    assert limited(predictor, files=2).post(PATH, files=sent(image, image, image)).status_code == 422
    assert limited(predictor, file_bytes=size - 1).post(PATH, files=sent(image)).status_code == 413
    assert limited(predictor, request_bytes=size).post(PATH, files=sent(image)).status_code == 413
    assert limited(predictor, waiting=1).post(PATH, files=sent(image, image)).status_code == 422
    full = limited(predictor, held_bytes=size).post(PATH, files=sent(image))
    assert (full.status_code, full.headers["retry-after"]) == (503, "1")
    again = limited(predictor, held_bytes=3 * size)  # what was held is given back
    assert [again.post(PATH, files=sent(image)).status_code for _ in range(5)] == [200] * 5


def test_a_slow_request_is_given_up(predictor):
    async def trickle():
        yield b"--x\r\n"
        await asyncio.sleep(5)

    async def ask():
        app = app_of(predictor, limits=Limits(patience_s=0.05))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://a") as client:
            kind = {"content-type": "multipart/form-data; boundary=x"}
            return (await client.post(PATH, content=trickle(), headers=kind)).status_code

    assert asyncio.run(ask()) == 408


def test_a_client_that_leaves_is_not_logged(predictor, caplog):
    messages = iter(
        [{"type": "http.request", "body": b"--x\r\n", "more_body": True}, {"type": "http.disconnect"}]
    )
    head = [(b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": head}
    sent_back = []

    async def receive():
        return next(messages)

    async def send(message):
        sent_back.append(message)

    asyncio.run(app_of(predictor)(scope, receive, send))
    assert sent_back[0]["status"] == 400
    assert caplog.text == ""


def test_a_full_queue_refuses_further_images(predictor, monkeypatch):
    free = threading.Event()
    answer = Predictor.answer_file
    monkeypatch.setattr(Predictor, "answer_file", lambda *words: (free.wait(10), answer(*words))[1])

    async def ask():
        app = app_of(predictor, limits=Limits(waiting=3))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://a") as client:
            asked = [asyncio.create_task(client.post(PATH, files=sent(("a.png", png())))) for _ in range(5)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            waiting = (await client.get("/metrics")).text
            free.set()
            return await asyncio.gather(*asked), waiting

    answers, waiting = asyncio.run(ask())
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503, 503]
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 503)
    assert "melascope_images_open 3.0" in waiting


def test_a_token_guards_all_but_the_page_and_health(predictor):
    client = TestClient(app_of(predictor, token=TOKEN), base_url="http://clinic.example")
    guarded = [
        ("POST", PATH),
        ("GET", "/v1/model"),
        ("GET", "/metrics"),
        ("GET", "/none"),
    ]
    for method, path in guarded:
        for sent_token in (None, "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
            answer = client.request(method, path, headers={"authorization": sent_token} if sent_token else {})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.post(PATH, files=sent(("a.png", png())), headers=bearer).status_code == 200
    described = client.get("/openapi.json").json()
    assert described["paths"][PATH]["post"]["security"] == [{"token": []}]
    assert "security" not in described["paths"]["/healthz"]["get"]
    for path in (*assets(), "/healthz", "/openapi.json"):
        assert client.get(path).status_code == 200


def test_requests_of_foreign_pages_are_refused(client):
    files = sent(("a.png", png()))
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:99"},
        {"sec-fetch-site": "cross-site"},
    ):
        assert client.post(PATH, files=files, headers=headers).status_code == 403
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert client.post(PATH, files=files, headers=own).status_code == 200


def test_unknown_host_names_are_refused(client):
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", ""):
        assert client.get("/v1/model", headers={"host": host}).status_code == 421
    assert client.get("/v1/model", headers={"host": "LOCALHOST:8000"}).status_code == 200


def test_every_answer_has_security_headers(client):
    answers = [
        client.get("/"),
        client.get("/nowhere"),
        client.get("/v1/model", headers={"host": "evil.example"}),
        client.post(PATH, files=sent(("a.png", png()))),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
    assert [answer.headers["cache-control"] for answer in answers] == ["no-cache"] + 3 * ["no-store"]
    tag = answers[0].headers["etag"]
    assert client.get("/", headers={"if-none-match": tag}).status_code == 304


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_obeys_its_own_policy(client):
    page = client.get("/").text
    elements = Elements()
    elements.feed(page)
    for tag, attributes in elements.tags:
        assert "style" not in attributes, tag
        assert tag != "style"
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), attributes
    assert page.count(NOTICE) >= 3
    for path in sorted(set(assets()) - {"/"}):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|innerHTML|eval\(", text), path


_opened: list[object] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event in ("open", "os.mkdir", "tempfile.mkstemp", "subprocess.Popen"):
        _opened.append((event, arguments[0]))


def test_images_touch_no_disk_and_no_log(client, caplog, capfd):
    global _opened  # noqa: PLW0603  # an audit hook stays for good, so it must be able to sleep
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (1200, 1200, 3), dtype=np.uint8)).save(file, "BMP")  # 4 MB
    files = sent(("Jane-Doe.bmp", file.getvalue()), ("Jane-Doe.png", png()))
    options = {"heat": "malignant", "picture": True}
    client.post(PATH, files=files, params=options)  # what is imported at the first time
    sys.addaudithook(_listen)
    caplog.set_level(logging.INFO)
    caplog.clear()
    _opened = []
    answer = client.post(PATH, files=files, params=options)
    opened, _opened = _opened, None
    assert answer.status_code == 200
    assert opened == []
    written = capfd.readouterr()
    logged = [record for record in caplog.records if not record.name.startswith(("httpx", "asyncio"))]
    assert (logged, written.out, written.err) == ([], "", "")


def test_a_fault_is_logged_by_its_place_alone(predictor, monkeypatch, caplog):
    def fail(*words):
        raise RuntimeError("Jane Doe's lesion")

    monkeypatch.setattr(Predictor, "answer_file", fail)
    app = app_of(predictor)
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    answer = client.post(PATH, files=sent(("Jane.png", png())))
    assert (answer.status_code, set(answer.json())) == (500, {"detail"})
    assert "Jane" not in answer.text + caplog.text
    assert "RuntimeError in " in caplog.text


def test_counts_and_times_are_kept(predictor):
    client = TestClient(app_of(predictor), base_url="http://localhost")
    client.post(PATH, files=sent(("a.png", png()), ("b.png", b"no")))
    client.get("/private/Jane-Doe")
    text = client.get("/metrics").text
    assert 'melascope_images_total{status="ok"} 1.0' in text
    assert 'melascope_images_total{status="error"} 1.0' in text
    assert 'melascope_requests_total{code="200",path="/v1/predictions"} 1.0' in text
    assert 'melascope_requests_total{code="404",path="other"} 1.0' in text
    assert "Jane" not in text


def test_the_description_fits_the_answers(client):
    described = client.get("/openapi.json").json()
    fields = described["components"]["schemas"]["Prediction"]["properties"]
    assert tuple(fields) == (*COLUMNS, "heat", "picture")
    for example in described["components"]["schemas"]["Prediction"]["examples"]:
        assert tuple(schema.Prediction(**example).model_dump(exclude={"heat", "picture"})) == COLUMNS
    full = client.post(
        PATH, files=sent(("a.png", png())), params={"heat": "malignant", "picture": True}
    ).json()
    schema.Predictions.model_validate(full, extra="forbid")
    schema.Model.model_validate(client.get("/v1/model").json(), extra="forbid")
    assert set(described["paths"]) == {PATH, "/v1/model", "/healthz", "/metrics"}


def test_the_example_in_the_docs_is_of_the_shipped_model():
    page = (Path(__file__).parents[2] / "docs" / "web.md").read_text(encoding="utf-8")
    (example,) = re.findall(r'^{"predictions".*?^```', page, re.MULTILINE | re.DOTALL)
    body = json.loads(example.removesuffix("```"))
    schema.Predictions.model_validate(body, extra="forbid")
    (row,) = body["predictions"]
    card = Card.read(SHIPPED.with_suffix(".json"))
    assert tuple(row) == COLUMNS
    assert (row["model"], row["threshold"]) == (card.identity, round(card.threshold["malignant"], DIGITS))
    assert body["note"] == schema.NOTE


def test_the_model_is_described(client, predictor):
    described = client.get("/v1/model").json()
    assert described["identity"] == predictor.card.identity
    assert described["sensitivities"] == [0.95, 0.98]
    assert described["card"]["license"] == predictor.card.license
    assert described["card"]["prediction_sets"]["low"] == predictor.card.prediction_sets.low


def test_other_formats_come_on_request(client):
    files = sent(("a.png", png(1)), ("b.png", b"no"))
    fhir = client.post(PATH, files=files, headers={"accept": "application/fhir+json; fhirVersion=5.0"})
    assert fhir.headers["content-type"] == "application/fhir+json; fhirVersion=5.0"
    kinds = [entry["resource"]["resourceType"] for entry in fhir.json()["entry"]]
    assert kinds == ["Device", "DiagnosticReport", *3 * ["Observation"], "OperationOutcome"]
    wanted = {"accept": 'multipart/related; type="application/dicom"'}
    refused = client.post(PATH, files=files, headers=wanted)
    assert (refused.status_code, refused.json()["detail"].split(":")[0]) == (422, "b.png")
    one = client.post(PATH, files=files[:1], headers={"accept": "application/dicom"})
    assert one.headers["content-type"] == "application/dicom"
    two = client.post(PATH, files=2 * files[:1], headers=wanted)
    kind, _, boundary = two.headers["content-type"].partition("; boundary=")
    assert kind == 'multipart/related; type="application/dicom"'
    parts = two.content.split(b"--" + boundary.encode())
    assert parts[-1] == b"--\r\n"
    read = [dcmread(io.BytesIO(part.partition(b"\r\n\r\n")[2])) for part in parts[1:-1]]
    assert len({file.SOPInstanceUID for file in read}) == 2
    assert dcmread(io.BytesIO(one.content)).pixel_array.shape == read[0].pixel_array.shape


def test_dicom_gets_the_answer_of_its_picture(client):
    row = client.post(PATH, files=sent(("a", png(5)), ("b", dicom_files.dicom(models.lesion(5))))).json()[
        "predictions"
    ]
    assert {**row[0], "path": "b"} == row[1]
