"""Processes that judge: the answers of one process, and what becomes of an image that ends its own."""

import logging
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest
from starlette.testclient import TestClient

from helpers import models
from helpers.dicom_files import dicom, saved
from helpers.faulty_predictor import DEADLY, FAULTY, SLOW, UNRUNNABLE, WATCHED, Peculiar, stillborn
from melascope.errors import ModelError
from melascope.web import workers as crews
from melascope.web.analysis import Judge, Question, Wish
from melascope.web.app import create_app
from melascope.web.errors import Fault
from melascope.web.upload import Upload
from melascope.web.workers import Crew

PNG = saved(models.lesion(0), "PNG")


def about(name: str, data: bytes = PNG, sensitivity: float | None = None, **wish) -> Question:
    return Question(Upload(name, data), sensitivity, Wish(**wish))


def statuses(told) -> list[str]:
    return [finding.answer.status for finding in told]


@pytest.fixture(scope="module")
def predictor(tiny_model) -> Peculiar:
    return Peculiar.load(tiny_model)


@pytest.fixture(scope="module")
def crew(predictor):
    with Crew(predictor, 1) as made:
        yield made


def test_answers_are_those_of_one_process(crew, predictor):
    questions = [
        about("a.png"),
        about("b.png", sensitivity=0.98),
        about("c.dcm", dicom(models.lesion(5)), heat="malignant", picture=True),
        about("d.png", b"no image", panel="malignant"),
        about("e.png", panel="malignant"),
    ]
    told, expected = crew(questions), Judge(predictor)(questions)
    assert told == expected
    assert {finding.answer.threshold for finding in told} == {
        point.threshold for point in predictor.card.operating_points["malignant"]
    }
    assert np.array_equal(told[0].answer.heat, expected[0].answer.heat)
    assert None not in (told[2].heat, told[2].picture, told[4].panel)


def test_an_image_that_ends_its_process_costs_no_other(crew, caplog):
    (before,) = multiprocessing.active_children()
    told = crew([about("a.png"), about(DEADLY, sensitivity=0.98), about("b.png")])
    assert statuses(told) == ["ok", "error", "ok"]
    answer = told[1].answer
    assert (answer.path, answer.label, answer.malignant) == (DEADLY, None, None)
    assert answer.reason.startswith("judging it broke off")
    assert (answer.threshold, answer.model) == (
        crew([about("", sensitivity=0.98)])[0].answer.threshold,
        told[0].answer.model,
    )
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert DEADLY not in caplog.text
    (after,) = multiprocessing.active_children()
    assert after.pid != before.pid


def test_a_process_that_ends_while_idle_costs_no_image(crew):
    (process,) = multiprocessing.active_children()
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert statuses(crew([about("a.png"), about("b.png")])) == ["ok", "ok"]


def test_an_image_that_takes_too_long_is_given_up(crew, monkeypatch):
    monkeypatch.setattr(crews, "_PATIENCE_S", 0.5)
    assert statuses(crew([about(SLOW)])) == ["error"]
    monkeypatch.undo()
    assert statuses(crew([about("a.png")])) == ["ok"]


def test_faults_come_without_their_message(crew):
    good, fault, broken = crew([about("a.png"), about(FAULTY), about(UNRUNNABLE)])
    assert good.answer.status == "ok"
    assert isinstance(fault, Fault)
    assert str(fault).startswith("RuntimeError in ")
    assert "faulty_predictor.py" in str(fault)
    assert isinstance(broken, ModelError)
    assert str(broken) == "tiny@0: cannot be run"


def test_images_touch_no_disk_there(crew):
    large = saved(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8), "BMP")  # 4 MB
    question = [about("large.bmp", large, heat="malignant", picture=True), about(WATCHED)]
    crew(question)  # what is imported at the first time
    assert [finding.answer.reason for finding in crew(question)][1] == "[]"


def test_all_go_at_the_end_even_in_the_middle_of_an_image(predictor, caplog):
    told, others = [], multiprocessing.active_children()
    with Crew(predictor, 2) as crew:
        asking = threading.Thread(target=lambda: told.extend(crew([about(SLOW), about(SLOW)])))
        asking.start()
        time.sleep(0.3)
    asking.join(10)
    assert [type(error) for error in told] == 2 * [EOFError]
    assert caplog.text == ""
    assert multiprocessing.active_children() == others


def test_a_request_gets_all_its_answers(crew, predictor, caplog):
    caplog.set_level(logging.ERROR)
    with TestClient(create_app(predictor.card, crew, 1), base_url="http://localhost") as client:
        names = ["a.png", DEADLY, *(f"{number}.png" for number in range(9))]
        answer = client.post("/v1/predictions", files=[("files", (name, PNG)) for name in names])
        rows = answer.json()["predictions"]
        assert [row["path"] for row in rows] == names
        assert [row["path"] for row in rows if row["status"] != "ok"] == [DEADLY]
        assert 'melascope_images_total{status="error"} 1.0' in client.get("/metrics").text
        assert client.post("/v1/predictions", files=[("files", (UNRUNNABLE, PNG))]).status_code == 500
        assert client.post("/v1/predictions", files=[("files", ("a.png", PNG))]).status_code == 200


def test_processes_that_cannot_start_are_told(predictor, monkeypatch):
    others = multiprocessing.active_children()
    monkeypatch.setattr(crews, "_work", stillborn)
    with pytest.raises(ModelError, match="cannot start"), Crew(predictor, 2):
        pass
    assert multiprocessing.active_children() == others
