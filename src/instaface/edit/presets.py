"""Names that users may write: ARKit blendshapes, and presets as named sets of numbers."""

from __future__ import annotations

from types import MappingProxyType

# The 52 blendshapes of ARKit's face tracking. Left is the subject's left.
ARKIT = (
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight"),
    *("eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight"),
    *("eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight"),
    *("eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight"),
    *("jawForward", "jawLeft", "jawOpen", "jawRight"),
    *("mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel"),
    *("mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker"),
    *("mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)

# Names that move the eyeball and not the skin: (eye, axis, sign) of the gaze; "in" is towards the nose.
EYE_LOOKS = MappingProxyType(
    {
        "eyeLookOutLeft": (0, 0, 1),
        "eyeLookInLeft": (0, 0, -1),
        "eyeLookOutRight": (1, 0, -1),
        "eyeLookInRight": (1, 0, 1),
        "eyeLookUpLeft": (0, 1, 1),
        "eyeLookDownLeft": (0, 1, -1),
        "eyeLookUpRight": (1, 1, 1),
        "eyeLookDownRight": (1, 1, -1),
    }
)


def _both(**weights: float) -> dict[str, float]:
    """The same weight on the left and on the right."""
    return {name + side: weight for name, weight in weights.items() for side in ("Left", "Right")}


EXPRESSIONS = MappingProxyType(
    {
        "smile": _both(mouthSmile=0.8, cheekSquint=0.4, eyeSquint=0.15),
        "grin": _both(mouthSmile=0.8, cheekSquint=0.5, eyeSquint=0.2, mouthUpperUp=0.4, mouthLowerDown=0.4),
        "laugh": _both(mouthSmile=0.9, cheekSquint=0.7, eyeSquint=0.4, mouthUpperUp=0.3) | {"jawOpen": 0.4},
        "smirk": {"mouthSmileLeft": 0.6, "mouthDimpleLeft": 0.4, "mouthLeft": 0.2},
        "surprise": _both(browOuterUp=0.8, eyeWide=0.7) | {"browInnerUp": 1.0, "jawOpen": 0.45},
        "angry": _both(browDown=1.0, eyeSquint=0.4, noseSneer=0.4, mouthPress=0.5, mouthFrown=0.3),
        "sad": _both(mouthFrown=0.7, eyeSquint=0.2) | {"browInnerUp": 0.8, "mouthShrugLower": 0.3},
        "fear": _both(browOuterUp=0.3, eyeWide=0.8, mouthStretch=0.6) | {"browInnerUp": 0.9, "jawOpen": 0.2},
        "disgust": _both(noseSneer=0.8, mouthUpperUp=0.5, browDown=0.4, eyeSquint=0.3, mouthFrown=0.3),
        "wink": {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.5},
        "blink": _both(eyeBlink=1.0),
        "sleepy": _both(eyeBlink=0.5),
        "kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.2},
        "pout": _both(mouthFrown=0.3) | {"mouthPucker": 0.4, "mouthShrugLower": 0.7},
        "open": {"jawOpen": 0.6},
        "puff": {"cheekPuff": 0.9},
    }
)

# Left and right are those of the picture, as azimuth is.
LIGHTS = MappingProxyType(
    {
        "front": {"azimuth": 0.0, "elevation": 10.0, "strength": 1.0, "ambient": 0.3},
        "left": {"azimuth": -65.0, "elevation": 15.0, "strength": 1.4, "ambient": 0.25},
        "right": {"azimuth": 65.0, "elevation": 15.0, "strength": 1.4, "ambient": 0.25},
        "top": {"azimuth": 0.0, "elevation": 65.0, "strength": 1.4, "ambient": 0.25},
        "bottom": {"azimuth": 0.0, "elevation": -55.0, "strength": 1.4, "ambient": 0.25},
        "soft": {"azimuth": 0.0, "elevation": 25.0, "strength": 1.0, "ambient": 0.75},
        "rembrandt": {"azimuth": -45.0, "elevation": 40.0, "strength": 1.4, "ambient": 0.2},
        "split": {"azimuth": 90.0, "elevation": 0.0, "strength": 1.6, "ambient": 0.15},
        "rim": {"azimuth": 125.0, "elevation": 25.0, "strength": 1.6, "ambient": 0.35},
        "back": {"azimuth": 180.0, "elevation": 35.0, "strength": 1.5, "ambient": 0.45},
    }
)
