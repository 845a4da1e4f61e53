"""Worker processes: results equal those of one process, and an image that ends its worker costs no other."""

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
from helpers.faulty_predictor import DEADLY, FAULTY, SLOW, UNRUNNABLE, WATCHED, FaultyPredictor, Stillborn
from melascope.errors import ModelError
from melascope.web.analysis import Job, Options, analyse
from melascope.web.app import create_app
from melascope.web.errors import Fault
from melascope.web.upload import Upload
from melascope.web.workers import WorkerPool

PNG = saved(models.lesion(0), "PNG")


def job(name, data=PNG, **options):
    return Job(Upload(name, data), Options(**options))


def statuses(results):
    return [result.answer.status for result in results]


@pytest.fixture(scope="module")
def predictor(tiny_model):
    return FaultyPredictor.load(tiny_model)


@pytest.fixture(scope="module")
def pool(predictor):
    with WorkerPool(predictor, 1) as made:
        yield made


def test_results_equal_those_of_one_process(pool, predictor):
    jobs = [
        job("a.png"),
        job("b.png", sensitivity=0.98),
        job("c.dcm", dicom(models.lesion(5)), heat="malignant", picture=True),
        job("d.png", b"no image", panel="malignant"),
        job("e.png", panel="malignant"),
    ]
    results, expected = pool(jobs), analyse(predictor, jobs)
    assert results == expected
    assert {result.answer.threshold for result in results} == {
        point.threshold for point in predictor.card.operating_points["malignant"]
    }
    assert np.array_equal(results[0].answer.heat, expected[0].answer.heat)
    assert None not in (results[2].heat, results[2].picture, results[4].panel)


def test_a_crash_costs_no_other_image(pool, caplog):
    (before,) = multiprocessing.active_children()
    results = pool([job("a.png"), job(DEADLY, sensitivity=0.98), job("b.png")])
    assert statuses(results) == ["ok", "error", "ok"]
    answer = results[1].answer
    assert (answer.path, answer.label, answer.malignant) == (DEADLY, None, None)
    assert answer.reason.startswith("the analysis crashed")
    assert (answer.threshold, answer.model) == (
        pool([job("", sensitivity=0.98)])[0].answer.threshold,
        results[0].answer.model,
    )
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert DEADLY not in caplog.text
    (after,) = multiprocessing.active_children()
    assert after.pid != before.pid


def test_an_idle_worker_that_is_killed_costs_no_image(pool):
    (process,) = multiprocessing.active_children()
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert statuses(pool([job("a.png"), job("b.png")])) == ["ok", "ok"]


def test_each_image_has_a_time_limit(predictor):
    with WorkerPool(predictor, 1, time_limit_s=0.5) as pool:
        assert statuses(pool([job(SLOW)])) == ["error"]
        assert statuses(pool([job("a.png")])) == ["ok"]


def test_faults_come_without_their_message(pool):
    good, fault, broken = pool([job("a.png"), job(FAULTY), job(UNRUNNABLE)])
    assert good.answer.status == "ok"
    assert isinstance(fault, Fault)
    assert str(fault).startswith("RuntimeError in ")
    assert "faulty_predictor.py" in str(fault)
    assert isinstance(broken, ModelError)
    assert str(broken) == "tiny@0: cannot be run"


def test_workers_write_no_image_to_disk(pool):
    large = saved(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8), "BMP")  # 4 MB
    jobs = [job("large.bmp", large, heat="malignant", picture=True), job(WATCHED)]
    pool(jobs)  # the first time, modules are imported
    assert [result.answer.reason for result in pool(jobs)][1] == "[]"


def test_all_workers_end_even_during_an_image(predictor, caplog):
    results, others = [], multiprocessing.active_children()
    with WorkerPool(predictor, 2) as pool:
        running = threading.Thread(target=lambda: results.extend(pool([job(SLOW), job(SLOW)])))
        running.start()
        time.sleep(0.3)
    running.join(10)
    assert [type(error) for error in results] == 2 * [EOFError]
    assert caplog.text == ""
    assert multiprocessing.active_children() == others


def test_a_request_gets_all_its_answers(pool, predictor, caplog):
    caplog.set_level(logging.ERROR)
    with TestClient(create_app(predictor.card, pool, 1), base_url="http://localhost") as client:
        names = ["a.png", DEADLY, *(f"{number}.png" for number in range(9))]
        answer = client.post("/v1/predictions", files=[("files", (name, PNG)) for name in names])
        rows = answer.json()["predictions"]
        assert [row["path"] for row in rows] == names
        assert [row["path"] for row in rows if row["status"] != "ok"] == [DEADLY]
        assert 'melascope_images_total{status="error"} 1.0' in client.get("/metrics").text
        assert client.post("/v1/predictions", files=[("files", (UNRUNNABLE, PNG))]).status_code == 500
        assert client.post("/v1/predictions", files=[("files", ("a.png", PNG))]).status_code == 200


def test_a_worker_that_cannot_start_is_an_error(tiny_model):
    others = multiprocessing.active_children()
    pool = WorkerPool(Stillborn.load(tiny_model), 2)
    with pytest.raises(ModelError, match="cannot start"), pool:
        pass
    assert multiprocessing.active_children() == others
