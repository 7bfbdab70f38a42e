"""The official client talks to a server: chat, streams, models, embeddings; answers are those of `describe`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from semi.integration import Integration
from tests.serve.conftest import WIDTHS, Running, part, sample, user

openai = pytest.importorskip("openai")


@pytest.fixture(scope="module")
def server(serving: Callable[..., Running]) -> Running:
    return serving()


@pytest.fixture(scope="module")
def client(server: Running) -> Any:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def said(client: Any, messages: list[dict[str, Any]], model: str = "wrist", **options: Any) -> str:
    answer = client.chat.completions.create(model=model, messages=messages, max_tokens=12, **options)
    return str(answer.choices[0].message.content)


@pytest.mark.parametrize("name", WIDTHS)
def test_a_sample_is_described(client: Any, integrations: dict[str, Integration], name: str) -> None:
    for seed in range(3):
        expected = integrations[name].describe(sample(name, seed), max_new_tokens=12)
        assert said(client, user(part(name, seed)), name) == expected
        asked = integrations[name].describe(sample(name, seed), ask="what is it", max_new_tokens=12)
        assert said(client, user(part(name, seed), "what is it"), name) == asked


def test_what_is_told_beside_the_text(client: Any, server: Running, integrations: dict[str, Integration]) -> None:
    [reading] = integrations["wrist"].read([sample("wrist", 1)])
    answer = client.chat.completions.create(model="wrist", messages=user(part("wrist", 1)), max_tokens=5)
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens <= 5
    [seen] = answer.model_extra["samples"]
    assert seen["modality"] == "wrist"
    assert seen["unlike_anything_seen"] == reading.unlike_anything_seen
    assert [each["label"] for each in seen["nearest"]] == [each.label for each in reading.nearest]


@pytest.mark.parametrize("options", [{}, {"stop": ["a", "e"]}, {"temperature": 0.8, "seed": 3}], ids=str)
def test_a_stream_adds_up_to_the_answer(client: Any, options: dict[str, Any]) -> None:
    for seed in range(4):
        messages = user(part("camera", seed), "what")
        chunks = list(
            client.chat.completions.create(
                model="camera",
                messages=messages,
                max_tokens=12,
                stream=True,
                stream_options={"include_usage": True},
                **options,
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == said(client, messages, "camera", **options)
        assert all(stop not in text for stop in options.get("stop", []))
        assert chunks[0].model_extra["samples"][0]["modality"] == "camera"
        assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")


def test_a_conversation_of_several_modalities(client: Any) -> None:
    model = client.models.list().data[0].id
    messages = user("one", part("wrist", 0), "two", part("camera", 0), "what is it")
    first = said(client, messages, model)
    more = [*messages, {"role": "assistant", "content": first}, {"role": "user", "content": "is it red"}]
    assert isinstance(said(client, more, model), str)
    assert said(client, [{"role": "system", "content": "what"}, *messages], model) is not None
    assert said(client, user("what is it"), model) == said(client, [{"role": "user", "content": "what is it"}], model)


def test_what_is_drawn_follows_the_seed(client: Any) -> None:
    drawn = [said(client, user("what"), temperature=1.5, seed=seed) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_models_are_the_language_model_and_the_modalities(client: Any, integrations: dict[str, Integration]) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [integrations["wrist"].language_model.id, *WIDTHS]


@pytest.mark.parametrize("name", WIDTHS)
def test_embeddings_are_mean_soft_tokens(client: Any, integrations: dict[str, Integration], name: str) -> None:
    samples = [sample(name, seed) for seed in range(3)]
    soft = integrations[name].soft(integrations[name].embed([np.array(each, np.float32) for each in samples]))
    given: Any = [{"values": each} for each in samples]
    for encoding in ("float", "base64"):
        answer = client.embeddings.create(model=name, input=given, encoding_format=encoding)
        for i, each in enumerate(answer.data):
            found = each.embedding
            if isinstance(found, str):
                found = np.frombuffer(base64.b64decode(found), "<f4")
            np.testing.assert_allclose(found, soft[i].mean(0).numpy(), rtol=1e-4, atol=1e-4)
            [reading] = integrations[name].read([samples[i]], max_new_tokens=1)
            assert each.model_extra["nearest"][0] == {
                "label": reading.nearest[0].label,
                "distance": reading.nearest[0].distance,
            }
            assert each.model_extra["unlike_anything_seen"] is reading.unlike_anything_seen


def test_many_at_once_get_their_own_answers(client: Any, server: Running) -> None:
    asked = [(name, seed) for seed in range(8) for name in WIDTHS]
    alone = [said(client, user(part(*each)), each[0]) for each in asked]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda each: said(client, user(part(*each)), each[0]), asked))
    assert together == alone
    texts = server.counted("semi_texts_batch_sum") / server.counted("semi_texts_batch_count")
    assert texts > 1


FORMS = {
    "values": lambda row: {"values": row},
    "float32": lambda row: {
        "float32": base64.b64encode(np.array(row, "<f4").tobytes()).decode(),
        "shape": [len(row)],
    },
    "file": lambda row: {"file": base64.b64encode(npy(row)).decode(), "name": "my.sample.npy"},
}


def npy(row: list[float]) -> bytes:
    from io import BytesIO

    content = BytesIO()
    np.save(content, np.array(row))
    return content.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_sample(client: Any, form: str) -> None:
    row = sample("wrist", 5)
    sent = {"type": "modality", "modality": "wrist", "data": FORMS[form](row)}
    assert said(client, user(sent)) == said(client, user(part("wrist", 5)))


def test_errors_are_those_of_openai(client: Any, serving: Callable[..., Running]) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        said(client, user("what"), "gpt")
    assert unknown.value.code == "model_not_found"
    assert unknown.value.param == "model"
    with pytest.raises(openai.BadRequestError) as wrong:
        said(client, user(part("camera", 0)), "wrist")
    assert wrong.value.code == "unknown_modality"
    locked = serving(keys=("secret",))
    with pytest.raises(openai.AuthenticationError) as stranger:
        said(openai.OpenAI(base_url=f"{locked.url}/v1", api_key="other", max_retries=0), user("what"))
    assert stranger.value.code == "invalid_api_key"
    assert isinstance(said(openai.OpenAI(base_url=f"{locked.url}/v1", api_key="secret"), user("what")), str)
