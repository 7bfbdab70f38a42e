"""What is wrong with a request is said of the field that is wrong, in words that mend it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx2
import numpy as np
import pytest

from tests.serve.conftest import Running, part, sample


@pytest.fixture(scope="module")
def server(serving: Callable[..., Running]) -> Running:
    return serving()


def refused(answer: httpx2.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def chat(server: Running, content: Any) -> httpx2.Response:
    body = {"model": "wrist", "messages": [{"role": "user", "content": content}]}
    return httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def embed(server: Running, given: Any) -> httpx2.Response:
    return httpx2.post(f"{server.url}/v1/embeddings", json={"model": "wrist", "input": given}, timeout=60)


def holding(data: Any) -> list[dict[str, Any]]:
    return [{"type": "modality", "modality": "wrist", "data": data}]


FORMS = "exactly one of"
CONTENT, PART = "messages.0.content", "messages.0.content.0"
PARTS: dict[str, tuple[Any, str, str]] = {
    "no data": ([{"type": "modality", "modality": "wrist"}], f"{PART}.data", FORMS),
    "text as data": (holding("CCO"), f"{PART}.data", FORMS),
    "two forms": (holding({"text": "a", "values": [1.0]}), f"{PART}.data", FORMS),
    "no form": (holding({"smiles": "CCO"}), f"{PART}.data", FORMS),
    "empty text": (holding({"text": ""}), f"{PART}.data.text", "at least 1 character"),
    "values that are none": (holding({"values": {"a": 1}}), f"{PART}.data.values", "list"),
    "half of a form": (holding({"float32": "AAAA"}), f"{PART}.data.shape", "required"),
    "another width": (holding({"values": [1.0]}), PART, "width"),
    "a picture": ([{"type": "image_url", "image_url": {"url": "x"}}], PART, "image_url, are not served"),
    "no type": ([{"text": "a"}], PART, "a part is"),
    "no parts": ([], CONTENT, "at least 1 item"),
    "no content": (None, CONTENT, "a string, or a list of parts"),
    "the second": ([part("wrist", 0), *holding({"values": ["a"]})], f"{CONTENT}.1", "no numbers"),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_part_is_told_what_it_needs(server: Running, case: str) -> None:
    content, param, says = PARTS[case]
    error = refused(chat(server, content))
    assert error["param"] == param, error
    assert says in error["message"]


INPUTS: dict[str, tuple[Any, str, str]] = {
    "nothing": (None, "input", "input is"),
    "no samples": ([], "input", "at least 1 item"),
    "no sample": ([None], "input.0", "a sample is"),
    "no form": ([[1.0] * 4, {"smiles": "CCO"}], "input.1", FORMS),
    "a part that is text": ([{"type": "text", "text": "a"}], "input.0.type", "'modality'"),
    "another modality": ([part("camera", 0)], "input.0.modality", "'camera'"),
    "another width": ([[1.0] * 4, [1.0] * 5], "input.1", "width"),
    "too many": ([[1.0] * 4] * 9, "input", "9 samples; 8 are allowed"),
}


@pytest.mark.parametrize("case", INPUTS)
def test_an_input_is_told_what_it_needs(server: Running, case: str) -> None:
    given, param, says = INPUTS[case]
    error = refused(embed(server, given))
    assert error["param"] == param, error
    assert says in error["message"]


def test_one_sample_is_written_in_several_ways(server: Running) -> None:
    row = sample("wrist", 0)
    expected = embed(server, {"values": row}).json()["data"][0]["embedding"]
    for given in (row, [row], part("wrist", 0), [part("wrist", 0)], [{"values": row}]):
        [found] = embed(server, given).json()["data"]
        np.testing.assert_array_equal(found["embedding"], expected)


@pytest.mark.parametrize("text", ["http://example.org/y.sdf", "mol.sdf", "/etc/hostname"])
def test_a_path_is_no_sample(server: Running, text: str) -> None:
    assert "send the file itself" in refused(embed(server, text))["message"]


def test_a_model_is_there_or_is_not(server: Running) -> None:
    for name in (each["id"] for each in httpx2.get(f"{server.url}/v1/models").json()["data"]):
        assert httpx2.get(f"{server.url}/v1/models/{quote(name, safe='')}").json()["id"] == name
    error = refused(httpx2.get(f"{server.url}/v1/models/gpt"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "wrist" in error["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses"])
def test_routes_that_are_not_there_say_which_are(server: Running, path: str) -> None:
    error = refused(httpx2.post(server.url + path, json={}), 404)
    assert error["code"] == "not_found"
    assert "use /v1/chat/completions" in error["message"]
    assert "/v1/models" in refused(httpx2.get(f"{server.url}/v1/files"), 404)["message"]


def test_another_method_says_which_is_taken(server: Running) -> None:
    answer = httpx2.get(f"{server.url}/v1/embeddings")
    assert refused(answer, 405)["message"] == "/v1/embeddings takes POST, not GET"
    assert answer.headers["allow"] == "POST"


def test_a_body_that_is_no_json_is_called_so(server: Running) -> None:
    def sent(body: bytes, kind: str) -> dict[str, Any]:
        headers = {"content-type": kind}
        return refused(httpx2.post(f"{server.url}/v1/embeddings", content=body, headers=headers))

    for body in (b"{", b"", b"[" * 15_000, b"\xff"):
        error = sent(body, "application/json")
        assert (error["message"], error["param"]) == ("the body is not JSON", None), body
    error = sent(b'{"model": "wrist", "input": "a"}', "text/plain")
    assert "Content-Type" in error["message"]
    assert error["param"] is None


def test_too_slow_says_what_is_quicker(serving: Callable[..., Running]) -> None:
    assert "a shorter prompt" in refused(chat(serving(request_s=0.001), "a"), 504)["message"]
