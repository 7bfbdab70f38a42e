from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from semi import weights
from semi.errors import InputError
from semi.language_model import PADDING, LanguageModel, _alike
from semi.prompts import PLACEHOLDER, Turn, render, with_placeholders

CAPTIONS = ["a red cat", "blue", "two green houses on the table", "a dog"]
SAME = ["Describe this."] * 4
OWN = f"What is {PLACEHOLDER} here?"
MIXED = ["Describe this.", OWN, "What is it?", "Describe this."]
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", SMALL),
    "gemma2": ("Gemma2Config", SMALL | {"head_dim": 8, "final_logit_softcapping": 3.0}),
    "gemma2_narrow_window": ("Gemma2Config", SMALL | {"head_dim": 8, "sliding_window": 4}),
    "gemma3": ("Gemma3TextConfig", SMALL | {"head_dim": 8, "final_logit_softcapping": 3.0, "sliding_window": 4}),
    "cohere": ("CohereConfig", SMALL | {"logit_scale": 0.0625}),
    "granite": ("GraniteConfig", SMALL | {"logits_scaling": 8.0, "embedding_multiplier": 12.0}),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512}),
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
}
INSTRUCTIONS = {"all_the_same": SAME, "own_placeholder": [OWN] * 4, "mixed": MIXED}


def soft_tokens(n: int, t: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(n, t, 32, generator=torch.Generator().manual_seed(seed))


def plain_loss(lm: LanguageModel, soft: Tensor, instruction: str, caption: str) -> tuple[float, int]:
    """One caption, no cache, no padding, the whole prompt and the whole logits: what `caption_loss` has to equal."""
    text = lm.tokenizer.apply_chat_template(
        [{"role": "user", "content": with_placeholders(instruction, 1)}], tokenize=False, add_generation_prompt=True
    )
    embed = lm.model.get_input_embeddings()

    def ids(part: str) -> Tensor:
        return torch.tensor(lm.tokenizer.encode(part, add_special_tokens=False), dtype=torch.long)

    before, after = text.split(PLACEHOLDER)
    target = torch.cat([ids(caption), torch.tensor([lm.tokenizer.eos_token_id])])
    inputs = torch.cat([embed(ids(before)), soft.to(lm.model.dtype), embed(ids(after)), embed(target)])
    with torch.no_grad():
        logits = lm.model(inputs_embeds=inputs[None], use_cache=False).logits[0]
    predicting = logits[-len(target) - 1 : -1].float()
    return float(torch.nn.functional.cross_entropy(predicting, target, reduction="sum")), len(target)


@pytest.mark.parametrize("instructions", INSTRUCTIONS.values(), ids=INSTRUCTIONS)
@pytest.mark.parametrize("t", [1, 3])
def test_the_caption_loss_is_cross_entropy_on_the_caption_tokens(
    language_model: LanguageModel, instructions: list[str], t: int
) -> None:
    soft = soft_tokens(4, t)
    nats, tokens = language_model.caption_loss(soft, instructions, CAPTIONS)
    expected = [plain_loss(language_model, *row) for row in zip(soft, instructions, CAPTIONS, strict=True)]
    torch.testing.assert_close(nats, torch.tensor([loss for loss, _ in expected]), rtol=1e-4, atol=1e-4)
    assert tokens.tolist() == [count for _, count in expected]


@pytest.mark.parametrize("instructions", INSTRUCTIONS.values(), ids=INSTRUCTIONS)
@pytest.mark.parametrize(("config", "settings"), ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_the_caption_loss_is_that_of_the_full_logits_of_any_architecture(
    language_model: LanguageModel, config: str, settings: dict[str, Any], instructions: list[str]
) -> None:
    tokenizer = language_model.tokenizer
    common = {"vocab_size": 300, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        # A wide initialisation, so that logits are large and a forgotten cap or scale shows.
        described = getattr(transformers, config)(**common | {"initializer_range": 0.3} | settings)
        auto: Any = transformers.AutoModelForCausalLM
        model = auto.from_config(described, attn_implementation="eager")
    lm = LanguageModel(weights.Loaded(model.eval().requires_grad_(False), tokenizer, "fp32", ""), id=config)
    soft = soft_tokens(4, 2)
    nats, tokens = lm.caption_loss(soft, instructions, CAPTIONS)
    expected = [plain_loss(lm, *row) for row in zip(soft, instructions, CAPTIONS, strict=True)]
    torch.testing.assert_close(nats, torch.tensor([loss for loss, _ in expected]), rtol=1e-4, atol=1e-4)
    assert tokens.tolist() == [count for _, count in expected]
    # Read once for several answers, rows padded in front, it is the same; so is what is written after them.
    read = lm.prefill([[Turn(*row, "")] for row in zip(soft, instructions, strict=True)])
    alone = [
        lm.generate([[one]], [lm.prompt(text)], max_new_tokens=5)[0]
        for one, text in zip(soft, instructions, strict=True)
    ]
    assert read.write(max_new_tokens=5) == alone
    for captions in (CAPTIONS[::-1], CAPTIONS):
        nats, tokens = read.losses(captions)
        expected = [plain_loss(lm, *row) for row in zip(soft, instructions, captions, strict=True)]
        torch.testing.assert_close(nats, torch.tensor([loss for loss, _ in expected]), rtol=1e-4, atol=1e-4)
        assert tokens.tolist() == [count for _, count in expected]
    assert read.write(max_new_tokens=5) == alone


@pytest.mark.parametrize("instructions", INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_a_row_does_not_depend_on_the_rows_beside_it(language_model: LanguageModel, instructions: list[str]) -> None:
    soft = soft_tokens(4)
    batch, _ = language_model.caption_loss(soft, instructions, CAPTIONS)
    single = [
        language_model.caption_loss(soft[i : i + 1], instructions[i : i + 1], CAPTIONS[i : i + 1])[0][0]
        for i in range(4)
    ]
    torch.testing.assert_close(batch, torch.stack(single), rtol=1e-4, atol=1e-4)
    mixed, _ = language_model.caption_loss(soft.flip(0), instructions[::-1], CAPTIONS[::-1])
    torch.testing.assert_close(mixed.flip(0), batch, rtol=1e-4, atol=1e-4)


def conversation(seed: int, turns: int, instructions: list[str]) -> list[Turn]:
    soft = soft_tokens(turns, seed=seed)
    return [Turn(soft[i], instructions[i % 4], CAPTIONS[(i + seed) % 4]) for i in range(turns)]


def plain_turns(lm: LanguageModel, turns: list[Turn]) -> list[float]:
    """Nats of every answer: the whole conversation through the template, piece by piece, without cache or padding."""
    messages = []
    for i, turn in enumerate(turns):
        messages.append({"role": "user", "content": with_placeholders(turn.instruction, 1)})
        messages += [{"role": "assistant", "content": f"<{i}>"}] if i + 1 < len(turns) else []
    text = (
        lm.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + f"<{len(turns) - 1}>"
    )
    embed = lm.model.get_input_embeddings()

    def ids(part: str) -> Tensor:
        return torch.tensor(lm.tokenizer.encode(part, add_special_tokens=False), dtype=torch.long)

    parts, spans = [], []
    for i, turn in enumerate(turns):
        asked, text = text.split(f"<{i}>", 1)
        before, after = asked.split(PLACEHOLDER)
        assert turn.soft is not None
        parts += [embed(ids(before)), turn.soft.to(lm.model.dtype), embed(ids(after))]
        target = torch.cat([ids(turn.answer), torch.tensor([lm.tokenizer.eos_token_id])])
        spans.append((sum(map(len, parts)), target))
        parts.append(embed(target[:-1]))
    with torch.no_grad():
        logits = lm.model(inputs_embeds=torch.cat(parts)[None], use_cache=False).logits[0].float()
    return [
        float(torch.nn.functional.cross_entropy(logits[at - 1 : at - 1 + len(target)], target, reduction="sum"))
        for at, target in spans
    ]


@pytest.mark.parametrize("instructions", INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_every_answer_of_a_conversation_counts_as_in_one_plain_reading(
    language_model: LanguageModel, instructions: list[str]
) -> None:
    conversations = [conversation(seed, turns, instructions) for seed, turns in enumerate([1, 4, 2, 1, 9])]
    nats, tokens = language_model.answer_loss(conversations, every_turn=True)
    expected = [loss for turns in conversations for loss in plain_turns(language_model, turns)]
    torch.testing.assert_close(nats, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    last = torch.tensor([len(turns) for turns in conversations]).cumsum(0) - 1
    only_last = language_model.answer_loss(conversations)
    torch.testing.assert_close(only_last[0], nats[last], rtol=1e-4, atol=1e-4)
    assert torch.equal(only_last[1], tokens[last])


def test_examples_stand_before_the_sample(language_model: LanguageModel) -> None:
    turns = conversation(0, 4, SAME)
    assert turns[-1].soft is not None
    rows = turns[-1].soft[None], [turns[-1].instruction], [turns[-1].answer]
    nats, _ = language_model.caption_loss(*rows, [turns[:-1]])
    assert float(nats) == pytest.approx(plain_turns(language_model, turns)[-1], rel=1e-4)
    assert abs(float(nats - language_model.caption_loss(*rows)[0])) > 1e-3


def test_an_example_may_be_words_alone(language_model: LanguageModel) -> None:
    shown = [Turn(None, "What is it?", "a cat")]
    nats, _ = language_model.caption_loss(soft_tokens(1), SAME[:1], CAPTIONS[:1], [shown])
    other, _ = language_model.caption_loss(soft_tokens(1), SAME[:1], CAPTIONS[:1], [[Turn(None, "What is it?", "no")]])
    assert abs(float(nats - other)) > 1e-4


def test_a_reply_is_what_the_prompt_generates(language_model: LanguageModel) -> None:
    soft = soft_tokens(3)
    prompts = [language_model.prompt(text) for text in MIXED[:3]]
    plain = language_model.generate([[row] for row in soft], prompts, max_new_tokens=6)
    turns = [[Turn(row, text, "never said")] for row, text in zip(soft, MIXED, strict=False)]
    assert language_model.prefill(turns).write(max_new_tokens=6) == plain
    shown = conversation(3, 5, SAME)
    assert shown[-1].soft is not None
    softs = [turn.soft for turn in shown if turn.soft is not None]
    messages = []
    for turn in shown:
        messages += [{"role": "user", "content": turn.content}, {"role": "assistant", "content": turn.answer}]
    prompt = render(language_model.tokenizer, messages[:-1])
    assert language_model.prefill([shown]).write(max_new_tokens=6) == language_model.generate(
        [softs], [prompt], max_new_tokens=6
    )


@given(lengths=st.lists(st.integers(1, 400), max_size=40))
def test_rows_read_together_waste_little_on_padding(lengths: list[int]) -> None:
    groups = _alike(lengths)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert max(lengths[i] for i in group) <= PADDING * min(lengths[i] for i in group)


def test_a_placeholder_moves_the_sample(language_model: LanguageModel) -> None:
    soft = soft_tokens(1)
    first = language_model.caption_loss(soft, ["What is here?"], CAPTIONS[:1])[0]
    inside = language_model.caption_loss(soft, [f"What is {PLACEHOLDER}here?"], CAPTIONS[:1])[0]
    assert abs(float(first - inside)) > 1e-3


def test_the_gradient_reaches_the_soft_tokens_and_no_weight(language_model: LanguageModel) -> None:
    before = {name: p.clone() for name, p in language_model.model.named_parameters()}
    for instructions in (SAME, MIXED):
        soft = soft_tokens(4).requires_grad_()
        nats, _ = language_model.caption_loss(soft, instructions, CAPTIONS)
        torch.autograd.backward(nats.sum())
        assert soft.grad is not None
        assert bool((soft.grad != 0).any(dim=2).all())  # every soft token of every sample
    for name, parameter in language_model.model.named_parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])


def test_the_gradient_is_the_slope(language_model: LanguageModel) -> None:
    soft, step = soft_tokens(2).requires_grad_(), 1e-2 * soft_tokens(2, seed=1)

    def loss(x: Tensor) -> Tensor:
        return language_model.caption_loss(x, SAME[:2], CAPTIONS[:2])[0].sum()

    (slope,) = torch.autograd.grad(loss(soft), soft)
    with torch.no_grad():
        rise = (loss(soft + step) - loss(soft - step)) / 2
    torch.testing.assert_close((slope * step).sum(), rise, rtol=5e-2, atol=1e-4)


def test_text_in_a_batch_equals_text_alone(language_model: LanguageModel) -> None:
    soft = soft_tokens(4)
    prompts = [language_model.prompt(text) for text in MIXED]
    batch = language_model.generate([[s] for s in soft], prompts, max_new_tokens=8)
    single = [language_model.generate([[s]], [p], max_new_tokens=8)[0] for s, p in zip(soft, prompts, strict=True)]
    assert batch == single
    assert len(set(batch)) > 1


def test_greedy_text_is_what_the_loss_likes_best(language_model: LanguageModel) -> None:
    """Generation and loss read the same prompt: no other first token has a lower loss than the one generated."""
    soft = soft_tokens(1)
    inputs = language_model.splice(language_model.prompt(SAME[0]), [soft[0]])
    with torch.no_grad():
        first = int(language_model.model(inputs_embeds=inputs[None]).logits[0, -1].argmax())
    (text,) = language_model.generate([[soft[0]]], [language_model.prompt(SAME[0])], max_new_tokens=1)
    assert text == language_model.tokenizer.decode([first], skip_special_tokens=True).strip()


def test_several_samples_of_several_soft_tokens_stand_where_the_placeholders_are(language_model: LanguageModel) -> None:
    a, b = soft_tokens(2, 3)
    prompt = language_model.prompt(f"Compare {PLACEHOLDER} with {PLACEHOLDER}.", samples=2)
    spliced = language_model.splice(prompt, [a, b[:1]])
    lengths = [len(segment) for segment in prompt.segments]
    assert len(spliced) == sum(lengths) + 4
    start = lengths[0]
    torch.testing.assert_close(spliced[start : start + 3], a)
    torch.testing.assert_close(spliced[start + 3 + lengths[1]][None], b[:1])


@pytest.mark.parametrize(("given", "taken"), [(1, 2), (3, 2), (0, 1)])
def test_another_number_of_samples_than_placeholders_is_refused_with_both(
    language_model: LanguageModel, given: int, taken: int
) -> None:
    prompt = language_model.prompt("Describe.", samples=taken)
    with pytest.raises(InputError) as refused:
        language_model.generate([list(soft_tokens(given))] if given else [[]], [prompt])
    assert f"{taken} placeholders for {given} samples" in str(refused.value)
    with pytest.raises(InputError, match=r"3 .* placeholders for 1 samples"):
        language_model.prompt(PLACEHOLDER * 3)


def test_a_conversation_keeps_its_turns(language_model: LanguageModel) -> None:
    messages = [
        {"role": "user", "content": f"{PLACEHOLDER} What is it?"},
        {"role": "assistant", "content": "a cat"},
        {"role": "user", "content": "Is it red?"},
    ]
    prompt = render(language_model.tokenizer, messages)
    text = language_model.tokenizer.decode([i for segment in prompt.segments for i in segment])
    assert prompt.samples == 1
    spots = [text.index(part) for part in ("What is it?", "a cat", "Is it red?")]
    assert spots == sorted(spots)
    assert text.endswith("assistant\n")


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_parts_of_a_text_are_means_of_its_embeddings(language_model: LanguageModel, parts: int) -> None:
    texts = ["a", "a red cat on the table", "blue house"]
    embedded = language_model.embed_parts(texts, parts)
    assert embedded.shape == (3, parts, 32)
    for text, row in zip(texts, embedded, strict=True):
        ids = language_model.tokenizer.encode(text, add_special_tokens=False)
        tokens = language_model.model.get_input_embeddings()(torch.tensor(ids))
        if parts == 1:
            torch.testing.assert_close(row[0], tokens.mean(0))
        torch.testing.assert_close(row[0], tokens[: max(1, round(len(ids) / parts))].mean(0))
        last = min(round(len(ids) * (parts - 1) / parts), len(ids) - 1)
        torch.testing.assert_close(row[-1], tokens[last:].mean(0))
