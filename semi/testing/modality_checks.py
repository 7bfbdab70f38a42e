"""Checks of a modality: its names, and what it takes and refuses as a sample."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from semi.brief import brief
from semi.errors import InputError
from semi.testing.subject import Subject

NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
NO_SAMPLES: tuple[Any, ...] = (None, object(), {}, [], "")
RATE = re.compile(r"rate|hertz|hz|fps|frequency", re.I)
UNIT = re.compile(r"units?$", re.I)
NO_RATES: tuple[Any, ...] = (0, -1, float("nan"), float("inf"), "fast")
NO_UNIT = "furlong"
OUTSIDE = re.compile(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|<script""", re.I)


class ModalityChecks(Subject):
    """Skipped where an encoder alone is tried."""

    def test_modality_is_named(self) -> None:
        """The modality has a name that can be typed."""
        name = getattr(self.owned(), "name", None)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self.fail(
                "the modality has no proper name",
                got=repr(name),
                expected="lower-case letters and digits, with single hyphens, dots or underscores between them",
                do="set the class attribute `name`",
            )

    def test_instruction(self) -> None:
        """The modality has an instruction: what the language model is asked with a sample."""
        text = getattr(self.owned(), "instruction", None)
        if not isinstance(text, str) or not text.strip() or text != text.strip() or "\n" in text:
            self.fail(
                "the modality has no proper instruction",
                got=repr(text),
                expected='one line, e.g. "Describe this molecule."',
                do="set the class attribute `instruction`",
            )

    def test_encoders_are_named(self) -> None:
        """The modality lists the names of its encoders, the default first."""
        names = getattr(self.owned(), "encoders", None)
        proper = isinstance(names, tuple) and names and all(isinstance(n, str) and NAME.fullmatch(n) for n in names)
        if not proper or len(set(names or ())) != len(names or ()):
            self.fail(
                "the modality does not list its encoders properly",
                got=repr(names),
                expected='a tuple of different names, the default first, e.g. ("small", "large")',
                do="set the class attribute `encoders`",
            )

    def test_first_encoder_is_the_default(self) -> None:
        """Asking for no encoder gives the first."""
        modality = self.owned()
        if self.encoder not in (None, modality.encoders[0]):
            raise self.skipped("another encoder than the default is tried")
        default = modality.encoder(None).id
        if default != self.loaded().id:
            self.fail(
                "the default encoder is not the first of the list",
                got=default,
                expected=self.loaded().id,
                do="let encoder(None) give the first of `encoders`",
            )

    def test_unknown_encoder_is_refused(self) -> None:
        """A misspelt encoder is wrong input."""
        modality = self.owned()
        self._require_refusal(lambda: modality.encoder("no-such-encoder"), "an encoder that does not exist")

    def test_invalid_samples_are_refused(self) -> None:
        """What is no sample is refused by `parse`, before any work starts."""
        modality = self.owned()
        for sample in (*NO_SAMPLES, *self.refused):
            self._require_refusal(lambda sample=sample: modality.parse(sample), f"the sample {brief(sample)}")

    def test_wrong_rates_and_units_are_refused(self) -> None:
        """Where a sample declares a sampling rate or a unit, an impossible one is refused."""
        modality, tried = self.owned(), 0
        for sample in self.samples[:1]:
            for where, spoilt in _misdeclared(sample):
                tried += 1
                self._require_refusal(lambda spoilt=spoilt: modality.parse(spoilt), f"a sample with {where}")
        if not tried:
            raise self.skipped("the samples declare neither a rate nor a unit (name spoilt ones in `refused`)")

    def test_parse_repeats(self) -> None:
        """`parse` gives the same for the same sample, changes nothing in it, and takes what it gave."""
        from copy import deepcopy

        from semi.pairs import Pair
        from semi.pairs_io import pairs_sha256

        self.owned()
        before = deepcopy(list(self.samples))
        first, second = ([Pair(self.parse(s), "") for s in samples] for samples in (before, self.samples))
        if pairs_sha256(first) != pairs_sha256(second):
            self.fail(
                "`parse` gives something else for the same sample",
                got="different results",
                expected="the same result each time",
                do="let it depend on the sample alone, and change nothing in it",
            )
        do = "let `parse` take what it returned as it is: data sets and programs give such samples"
        try:
            again = [Pair(self.parse(pair.sample), "") for pair in first]
        except InputError as error:
            self.fail("`parse` refuses what it gave", got=error.what, expected="the same sample", do=do)
        if pairs_sha256(first) != pairs_sha256(again):
            self.fail("`parse` changes what it gave", got="another sample", expected="the same sample", do=do)

    def test_drawings_stand_alone(self) -> None:
        """`draw` gives HTML or SVG that loads nothing from elsewhere, or None."""
        for sample in self.parsed() if self.owned() else ():
            picture = self.owned().draw(sample)
            if picture is not None and not (isinstance(picture, str) and "<" in picture):
                self.fail(
                    "`draw` gives no picture", got=brief(picture), expected="SVG or HTML, or None", do="see `draw`"
                )
            if picture is not None and (found := OUTSIDE.search(picture)):
                self.fail(
                    "a drawing loads something from elsewhere, or runs a script",
                    got=picture[max(0, found.start() - 20) : found.end() + 40],
                    expected="SVG or HTML that stands alone",
                    do="put pictures in as data: URLs",
                )

    def _require_refusal(self, call: Any, what: str) -> None:
        do = "raise semi.errors.PairsError for samples and InputError for names, with got and expected"
        try:
            call()
        except InputError:
            return
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            self.fail(f"{what} is not refused properly", got=got, expected="an InputError or PairsError", do=do)
        self.fail(f"{what} is not refused", got="no error", expected="an InputError or PairsError", do=do)


def _misdeclared(sample: Any) -> Iterator[tuple[str, Any]]:
    """Copies of a sample with one rate or unit spoilt, and where."""
    if not isinstance(sample, Mapping):
        return
    for key, value in sample.items():
        if isinstance(value, Mapping):
            inner = _misdeclared(value) if not UNIT.search(str(key)) else _every_unit(value)
            yield from ((f"{key}.{where}", {**sample, key: spoilt}) for where, spoilt in inner)
        elif RATE.search(str(key)):
            yield from ((f"{key} = {wrong!r}", {**sample, key: wrong}) for wrong in NO_RATES)
        elif UNIT.search(str(key)):
            yield f"{key} = {NO_UNIT!r}", {**sample, key: NO_UNIT}


def _every_unit(units: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{key} = {NO_UNIT!r}", {**units, key: NO_UNIT}) for key in units)
