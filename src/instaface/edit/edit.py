"""What shall be changed, as users say it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from instaface.edit.presets import ARKIT, EXPRESSIONS, EYE_LOOKS, LIGHTS
from instaface.errors import InstaFaceError

NEUTRAL = "neutral"
CAMERA: Literal["camera"] = "camera"
DRIVEN = ("pose", "expression", "light", "gaze")  # what can be taken from another face

# Field: (lowest, highest, unit). The relative angles may go from one end of the absolute ones to the other.
LIMITS: dict[str, tuple[float, float, str]] = {
    "yaw": (-90, 90, " degrees"),
    "pitch": (-60, 60, " degrees"),
    "roll": (-180, 180, " degrees"),
    "turn": (-180, 180, " degrees"),
    "nod": (-120, 120, " degrees"),
    "tilt": (-180, 180, " degrees"),
    "gaze x": (-45, 45, " degrees"),
    "gaze y": (-35, 35, " degrees"),
    "azimuth": (-180, 180, " degrees"),
    "elevation": (-90, 90, " degrees"),
    "strength": (0, 4, ""),
    "ambient": (0, 1, ""),
}


@dataclass(frozen=True)
class Light:
    """A distant lamp and light from everywhere.

    The shading of the face becomes ``e (strength (1 - ambient) k max(0, n . d) + ambient)`` for a surface with
    normal n and the lamp in direction d, where e is the mean shading of the face in the photo, in its colour, and
    k makes the lamp, from the camera's place, give the face that mean. So strength 1 from the front is as bright as
    the photo; from the side it is darker, as in a room; strength 0 leaves the ambient share.

    Attributes:
        azimuth: degrees; 0 from the camera, positive from the right edge of the picture, 180 from behind.
        elevation: degrees, positive from above.
        strength: of the lamp, 0..4; 1 as in the photo.
        ambient: share of the photo's brightness that comes from everywhere, 0..1.
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    strength: float = 1.0
    ambient: float = 0.3

    def __post_init__(self) -> None:
        for f in fields(self):
            object.__setattr__(self, f.name, _number(f"light {f.name}", getattr(self, f.name), LIMITS[f.name]))

    @classmethod
    def parse(cls, value: Light | str | Mapping[str, Any]) -> Light:
        """A light from itself, a mapping, or text: ``left``, ``azimuth=60,elevation=20`` or ``left,strength=0.5``."""
        if isinstance(value, Light):
            return value
        if isinstance(value, str):
            value = _pairs(value, "light", list(LIGHTS))
        if not isinstance(value, Mapping):
            raise InstaFaceError(f"light: {value!r} is not understood, allowed are a preset or azimuth, elevation, ...")
        numbers: dict[str, Any] = {}
        for key, number in value.items():
            if key in LIGHTS and number is True:
                numbers |= LIGHTS[key]
            elif key in {f.name for f in fields(cls)}:
                numbers[key] = number
            else:
                raise _unknown("light", key, [f.name for f in fields(cls)], "presets", LIGHTS)
        return cls(**numbers)


@dataclass(frozen=True)
class Edit:
    """A change of head pose, expression, gaze and light. What is not given stays as it is in the photo.

    Attributes:
        yaw: absolute degrees, -90..90; positive turns the nose towards the right edge of the picture.
        pitch: absolute degrees, -60..60; positive raises the nose.
        roll: absolute degrees, -180..180; positive tilts the head clockwise as seen.
        turn: degrees added to the yaw.
        nod: degrees added to the pitch.
        tilt: degrees added to the roll.
        expression: ARKit names or presets to absolute weights 0..1, or text such as ``"smile=0.8,jawOpen=0.2"``.
            Presets are resolved at once (their weights times the given one; what comes later wins). ``neutral``
            takes what is not named towards 0 (weight 1: to 0; "neutral" alone: a neutral face). The ``eyeLook``
            names move the eyes, each eye by itself, and win over ``gaze``; ``neutral`` leaves the gaze alone.
        gaze: (horizontal, vertical) degrees relative to the head, signs as yaw and pitch; ``"camera"`` looks into
            the lens; also as text, ``"10,-5"``.
        light: a :class:`Light`, a preset, a mapping, or text such as ``"azimuth=60,elevation=20,ambient=0.3"``.

    Raises:
        InstaFaceError: naming the field, the value and what is allowed.
    """

    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    turn: float = 0.0
    nod: float = 0.0
    tilt: float = 0.0
    expression: Mapping[str, float] | str | None = field(default_factory=dict)
    gaze: tuple[float, float] | Literal["camera"] | str | None = None
    light: Light | str | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("yaw", "pitch", "roll", "turn", "nod", "tilt"):
            value = getattr(self, name)
            if value is not None or name in ("turn", "nod", "tilt"):
                object.__setattr__(self, name, _number(name, value, LIMITS[name]))
        object.__setattr__(self, "expression", parse_expression(self.expression))
        object.__setattr__(self, "gaze", parse_gaze(self.gaze))
        object.__setattr__(self, "light", None if self.light is None else Light.parse(self.light))

    @property
    def weights(self) -> Mapping[str, float]:
        """ARKit names (and ``neutral``) to weights: ``expression`` as it was resolved."""
        assert isinstance(self.expression, Mapping)
        return self.expression

    @property
    def is_identity(self) -> bool:
        """Whether nothing is asked for."""
        return self == Edit()

    @property
    def moves_head(self) -> bool:
        """Whether it asks for a head pose."""
        absolute = any(angle is not None for angle in (self.yaw, self.pitch, self.roll))
        return absolute or any((self.turn, self.nod, self.tilt))

    def __or__(self, later: Edit) -> Edit:
        """This edit, then ``later``: what ``later`` says wins, relative angles add to what stands before them."""
        angles: dict[str, Any] = {}
        for absolute, relative in (("yaw", "turn"), ("pitch", "nod"), ("roll", "tilt")):
            replaced = getattr(later, absolute) is not None
            angles[absolute] = getattr(later if replaced else self, absolute)
            angles[relative] = getattr(later, relative) + (0.0 if replaced else getattr(self, relative))
        return Edit(
            **angles,
            expression=_combine(self.weights, later.weights, new_gaze=later.gaze is not None),
            gaze=self.gaze if later.gaze is None else later.gaze,
            light=self.light if later.light is None else later.light,
        )

    def to_dict(self) -> dict[str, Any]:
        """What differs from an edit that asks for nothing, as plain numbers, texts and mappings."""
        nothing = Edit()
        out = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != getattr(nothing, f.name)}
        if isinstance(self.light, Light):
            out["light"] = asdict(self.light)
        if isinstance(self.gaze, tuple):
            out["gaze"] = list(self.gaze)
        return out

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Edit:
        """Inverse of :meth:`to_dict`; unknown keys are refused."""
        if not isinstance(values, Mapping):
            raise InstaFaceError(f'an edit is a JSON object such as {{"yaw": 20}}, not {type(values).__name__}')
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise _unknown("edit", key, known)
        return cls(**values)

    def to_json(self) -> str:
        """JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Edit:
        """Inverse of :meth:`to_json`."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InstaFaceError(f"an edit must be JSON: {error.msg} in line {error.lineno}") from None
        return cls.from_dict(values)

    @classmethod
    def load(cls, path: str | Path) -> Edit:
        """Read a JSON file."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except InstaFaceError as error:
            raise InstaFaceError(f"{path}: {error}") from None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise InstaFaceError(f"{path} cannot be read ({reason}): give a JSON file with an edit") from None


def parse_expression(value: Mapping[str, float] | str | None) -> dict[str, float]:
    """Weights by ARKit name, presets resolved; ``neutral`` is kept as a name of its own."""
    if value is None:
        return {}
    if isinstance(value, str):
        value = _pairs(value, "expression", [NEUTRAL, *EXPRESSIONS], ARKIT, bare=1.0)
    if not isinstance(value, Mapping):
        raise InstaFaceError(f"expression: {value!r} is not understood, allowed are names with weights 0 to 1")
    out: dict[str, float] = {}
    for name, weight in value.items():
        weight = _number(f"expression {name}", weight, (0, 1, ""))
        if name in EXPRESSIONS:
            out |= {part: weight * share for part, share in EXPRESSIONS[name].items()}
        elif name in ARKIT or name == NEUTRAL:
            out[name] = weight
        else:
            raise _unknown("expression", name, [NEUTRAL, *EXPRESSIONS], "ARKit names", ARKIT)
    return out


def parse_gaze(value: tuple[float, float] | str | None) -> tuple[float, float] | Literal["camera"] | None:
    """(horizontal, vertical) degrees, or ``camera``, or None."""
    if value is None or value == CAMERA:
        return value  # type: ignore[return-value]
    parts: Any = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or len(parts) != 2:
        raise InstaFaceError(f"gaze: {value!r} is not understood, allowed are two angles X,Y or camera")
    return _number("gaze x", parts[0], LIMITS["gaze x"]), _number("gaze y", parts[1], LIMITS["gaze y"])


def parse_driven(what: str | Iterable[str]) -> tuple[str, ...]:
    """Parts from text such as ``pose,light`` or from a list."""
    parts = what.split(",") if isinstance(what, str) else what
    parts = tuple(part.strip() for part in parts if part.strip())
    for part in parts:
        if part not in DRIVEN:
            raise InstaFaceError(f"drive: unknown part {part!r}, allowed are {', '.join(DRIVEN)}")
    if not parts:
        raise InstaFaceError(f"drive: nothing to take, allowed are {', '.join(DRIVEN)}")
    return parts


def _combine(earlier: Mapping[str, float], later: Mapping[str, float], new_gaze: bool) -> dict[str, float]:
    """Weights of one expression and then another: the later ``neutral`` weakens what the earlier one set."""
    kept = 1 - later.get(NEUTRAL, 0.0)
    moved = {EYE_LOOKS[name][:2] for name in later if name in EYE_LOOKS}  # (eye, axis)
    out: dict[str, float] = {}
    for name, weight in earlier.items():
        if name in EYE_LOOKS:
            if not new_gaze and EYE_LOOKS[name][:2] not in moved:
                out[name] = weight
        elif name != NEUTRAL:
            out[name] = weight * kept
    neutral = 1 - (1 - earlier.get(NEUTRAL, 0.0)) * kept
    return ({NEUTRAL: neutral} if neutral else {}) | out | {k: v for k, v in later.items() if k != NEUTRAL}


def _number(name: str, value: Any, limits: tuple[float, float, str]) -> float:
    low, high, unit = limits
    allowed = f"allowed are numbers from {low:g} to {high:g}{unit}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InstaFaceError(f"{name}: {value!r} is not a number, {allowed}") from None
    if isinstance(value, bool) or not math.isfinite(number):
        raise InstaFaceError(f"{name}: {value} is not a number, {allowed}")
    if not low <= number <= high:
        raise InstaFaceError(f"{name}: {number:g} is out of range, {allowed}")
    return number


def _pairs(
    text: str, field: str, presets: Sequence[str], others: Sequence[str] = (), bare: Any = True
) -> dict[str, Any]:
    """``a=1,b=2`` as a mapping; one of the presets or others without a number stands for ``bare``."""
    out: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals and name not in presets and name not in others:
            raise _unknown(field, name, presets, "ARKit names", others)
        out.pop(name, None)  # what comes later also stands later
        out[name] = number if equals else bare
    if not out:
        raise InstaFaceError(f"{field}: empty, allowed are name=number pairs or one of {', '.join(presets)}")
    return out


def _unknown(field: str, name: Any, known: Sequence[str], more: str = "", others: Iterable[str] = ()) -> InstaFaceError:
    others = list(others)
    close = get_close_matches(str(name), [*known, *others], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    rest = f"; {more} {', '.join(others)}" if others else ""
    return InstaFaceError(f"{field}: unknown name {name!r}{hint}, allowed are {', '.join(known)}{rest}")
