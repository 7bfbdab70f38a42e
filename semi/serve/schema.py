"""Requests and answers as JSON: OpenAI's, and content parts that hold a sample of a modality."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Text = Annotated[str, Field(min_length=1)]
Units = Text | dict[str, Text]
BRANCH = "<"
"""How the tags of alternatives begin: pydantic puts them among the fields of an error's place, where no client knows
them."""


class _Sent(BaseModel):
    """What a client sends: nothing is guessed or left out silently."""

    model_config = ConfigDict(strict=True, extra="forbid")


class _Measured(_Sent):
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Hz, where the modality asks for it."""
    units: Units | None = None
    """As the modality's pairs files have them."""


class Values(_Measured):
    """An array as JSON numbers."""

    values: list[Any]
    """Numbers, or lists of them of one length, and so on."""


class Packed(_Measured):
    """An array as bytes."""

    float32: str
    """Base64 of its numbers, little-endian, row by row."""
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=4)]


class RawFile(_Measured):
    """A file that the modality reads."""

    file: Text
    """Its bytes in base64."""
    name: Annotated[str, Field(min_length=1, max_length=255)]
    """Only its suffix is used."""


class Words(_Sent):
    """A sample that is text, such as SMILES."""

    text: Text


FORMS = {"values": Values, "float32": Packed, "file": RawFile, "text": Words}


def _form(data: Any) -> str | None:
    """Which of the forms data has; None: none, or several."""
    if isinstance(data, dict):
        found = [name for name in FORMS if name in data]
    else:
        found = [name for name, form in FORMS.items() if isinstance(data, form)]
    return f"<{found[0]}>" if len(found) == 1 else None


Data = Annotated[
    Annotated[Values, Tag("<values>")]
    | Annotated[Packed, Tag("<float32>")]
    | Annotated[RawFile, Tag("<file>")]
    | Annotated[Words, Tag("<text>")],
    Discriminator(
        _form,
        custom_error_type="data",
        custom_error_message='a sample needs exactly one of {"values": ...}, {"float32": ..., "shape": ...}, '
        '{"file": ..., "name": ...}, {"text": ...}',
    ),
]


class TextPart(_Sent):
    """What is said."""

    type: Literal["text"]
    text: str


class ModalityPart(_Sent):
    """A sample."""

    type: Literal["modality"]
    modality: Text
    data: Data

    @model_validator(mode="before")
    @classmethod
    def _no_data(cls, part: Any) -> Any:
        """Data that is missing is told of as data that is none: what it needs is said there."""
        return {"data": None} | part if isinstance(part, dict) else part


def _type(part: Any) -> str | None:
    """Which part it is."""
    found = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    return f"<{found}>" if found in ("text", "modality") else None


Part = Annotated[
    Annotated[TextPart, Tag("<text>")] | Annotated[ModalityPart, Tag("<modality>")],
    Discriminator(
        _type,
        custom_error_type="part",
        custom_error_message='a part is {"type": "text", "text": ...} or '
        '{"type": "modality", "modality": ..., "data": ...}; others, such as image_url, are not served',
    ),
]


def _content(content: Any) -> str | None:
    """Whether it is text alone."""
    return "<text>" if isinstance(content, str) else "<parts>" if isinstance(content, list) else None


Content = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[list[Part], Field(min_length=1, max_length=64), Tag("<parts>")],
    Discriminator(
        _content, custom_error_type="content", custom_error_message="content is a string, or a list of parts"
    ),
]


class Message(_Sent):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Content
    name: str | None = None

    @property
    def parts(self) -> list[TextPart | ModalityPart]:
        """Its parts in their order."""
        return [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else list(self.content)


class StreamOptions(_Sent):
    """What a stream has beside its text."""

    include_usage: bool = False


Stop = Annotated[str, Field(min_length=1, max_length=64)]


class ChatRequest(_Sent):
    """A conversation to be continued. Of options that are not served the value that changes nothing is taken."""

    model: Text
    messages: Annotated[list[Message], Field(min_length=1, max_length=256)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """None is 0: the likeliest text."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    user: str | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


def _given(given: Any) -> str | None:
    """How a sample is written where nothing but samples is expected."""
    if isinstance(given, str):
        return "<text>"
    if isinstance(given, list):
        return "<numbers>"
    if isinstance(given, ModalityPart) or (isinstance(given, dict) and "type" in given):
        return "<part>"
    return "<data>" if isinstance(given, dict | _Sent) else None


def _input(given: Any) -> str | None:
    """As `_given`, or several: a list of anything but numbers."""
    several = isinstance(given, list) and not (given and isinstance(given[0], int | float))
    return "<several>" if several else _given(given)


_WRITTEN = 'a string, a list of numbers, {"values": ...} and its like, or a part of the type modality'
Given = (
    Annotated[Text, Tag("<text>")]
    | Annotated[list[Any], Tag("<numbers>")]
    | Annotated[Data, Tag("<data>")]
    | Annotated[ModalityPart, Tag("<part>")]
)
One = Annotated[Given, Discriminator(_given, custom_error_type="input", custom_error_message=f"a sample is {_WRITTEN}")]
Input = Annotated[
    Given | Annotated[list[One], Field(min_length=1), Tag("<several>")],
    Discriminator(_input, custom_error_type="input", custom_error_message=f"input is {_WRITTEN}; or a list of these"),
]


class EmbeddingRequest(_Sent):
    """Samples to be embedded."""

    model: Text
    """A modality."""
    input: Input
    """One sample or several; a string is `{"text": ...}`, a list of numbers is `{"values": ...}`."""
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None

    @property
    def parts(self) -> dict[str, ModalityPart]:
        """The samples by their places in the request, each as a part of a conversation."""
        if _input(self.input) != "<several>":
            return {"input": self._part(self.input)}
        return {f"input.{i}": self._part(each) for i, each in enumerate(self.input)}

    def _part(self, given: Any) -> ModalityPart:
        if isinstance(given, ModalityPart):
            return given
        if isinstance(given, str):
            given = Words(text=given)
        elif isinstance(given, list):
            given = Values(values=given)
        return ModalityPart(type="modality", modality=self.model, data=given)


class Usage(BaseModel):
    """Tokens; those of a sample are its soft tokens."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0


class Label(BaseModel):
    """A label of the support set."""

    label: str
    distance: float
    """Of its nearest sample; 1.0 is the usual spacing of the support set."""


class Seen(BaseModel):
    """What is known of a sample without the language model."""

    modality: str
    nearest: list[Label]
    unlike_anything_seen: bool


class Answer(BaseModel):
    """A message of the language model."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """The only one."""

    index: Literal[0] = 0
    message: Answer
    finish_reason: Literal["stop", "length"]
    logprobs: None = None


class ChatAnswer(BaseModel):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    samples: list[Seen]
    """Of each sample of the request, in their order."""


class Delta(BaseModel):
    """What an answer grew by."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """The only one."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: None = None


class ChatChunk(BaseModel):
    """A part of an answer as it is written."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    samples: list[Seen] | None = None
    """In the first."""


class Embedding(Seen):
    """Where the projector and the modality's adapter put a sample: the mean of its soft tokens, (d_lm,)."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """Numbers, or base64 of float32."""


class EmbeddingAnswer(BaseModel):
    """One for each sample."""

    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: Usage


class Model(BaseModel):
    """The language model, or a modality."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["semi"] = "semi"


class Models(BaseModel):
    """All that can be asked for."""

    object: Literal["list"] = "list"
    data: list[Model]


class Fault(BaseModel):
    """Why there is no answer."""

    message: str
    type: str
    param: str | None
    code: str


class FaultAnswer(BaseModel):
    """An error in OpenAI's shape."""

    error: Fault


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"] = "ok"
