"""Edits say what users said, refuse what they cannot have meant, and do to the numbers what they say."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from instaface.edit import ARKIT, EXPRESSIONS, LIGHTS, Edit, Light, parse_range
from instaface.edit.apply import EYE_LOOK_DEGREES, apply, facing_normals, gaze_into_camera, interpolate, sequence
from instaface.edit.drive import drive
from instaface.errors import InstaFaceError
from instaface.face import FaceParameters, MorphableModel, rotation_from_angles
from instaface.face.light import shade


def sphere(n: int, radius: float, centre: tuple[float, float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """(n * n, 3) vertices and triangles of a sphere, anticlockwise from outside."""
    phi, theta = torch.linspace(0, 2 * math.pi, n), torch.linspace(0.02, math.pi - 0.02, n)
    p, t = torch.meshgrid(phi, theta, indexing="ij")
    points = radius * torch.stack([t.sin() * p.sin(), t.cos(), t.sin() * p.cos()], -1) + torch.tensor(centre)
    k = torch.arange(n * n).reshape(n, n)
    a, b, c, d = (x.flatten() for x in (k[:-1, :-1], k[1:, :-1], k[1:, 1:], k[:-1, 1:]))
    return points.reshape(-1, 3), torch.cat([torch.stack([a, d, c], -1), torch.stack([a, c, b], -1)])


class SphereHead(MorphableModel):
    """A head of three spheres, for which everything is known: a face and two eyeballs."""

    name = "sphere"
    expression_names = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp")
    n_identity, n_albedo = 3, 2
    eyes = ((3.0, 2.0, 6.0), (-3.0, 2.0, 6.0))  # left, right

    def __init__(self) -> None:
        parts = [sphere(24, 9.0, (0, 0, 0)), *(sphere(9, 1.2, centre) for centre in self.eyes)]
        offsets = [0, 24 * 24, 24 * 24 + 81]
        self.rest = torch.cat([points for points, _ in parts])
        self.faces = torch.cat([faces + k for (_, faces), k in zip(parts, offsets, strict=True)])
        self.uv, self.uv_faces = self.rest[:, :2], self.faces
        self.head_weight = torch.ones(len(self.rest))
        self.regions = {
            "face": torch.arange(offsets[1]),
            "eyeball_left": torch.arange(offsets[1], offsets[2]),
            "eyeball_right": torch.arange(offsets[2], len(self.rest)),
        }

    def vertices(self, parameters: FaceParameters) -> torch.Tensor:
        rotation = rotation_from_angles(parameters.head)
        return self.rest @ rotation.transpose(1, 2) + parameters.translation[:, None]

    def landmarks(self, vertices, scheme):
        raise ValueError(scheme)

    def albedo(self, coefficients):
        raise NotImplementedError


@pytest.fixture(scope="module")
def model() -> SphereHead:
    return SphereHead()


@pytest.fixture
def face(model) -> FaceParameters:
    face = model.neutral()
    generator = torch.Generator().manual_seed(0)
    light = face.light + 0.1 * torch.randn(1, 9, 3, generator=generator)
    return face.replace(
        head=torch.tensor([[5.0, -3.0, 2.0]]),
        expression=torch.tensor([[0.3, 0.2, 0.4, 0.1]]),
        gaze=torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
        light=light,
    )


# What users say


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"yaw": 120}, r"yaw: 120 is out of range, allowed are numbers from -90 to 90 degrees"),
        ({"yaw": math.nan}, r"yaw: nan is not a number"),
        ({"turn": math.inf}, r"turn: inf is not a number"),
        ({"pitch": "up"}, r"pitch: 'up' is not a number, allowed are numbers from -60 to 60"),
        ({"roll": True}, r"roll: True is not a number"),
        ({"nod": None}, r"nod: None is not a number"),
        ({"expression": {"jawOpen": 1.5}}, r"expression jawOpen: 1.5 is out of range, allowed are numbers from 0 to 1"),
        (
            {"expression": "smlie=0.5"},
            r"unknown name 'smlie' \(did you mean smile\?\), allowed are neutral",
        ),
        ({"expression": "jawopen"}, r"did you mean jawOpen\?"),
        ({"expression": "smile=wide"}, r"expression smile: 'wide' is not a number"),
        ({"expression": ""}, r"expression: empty"),
        ({"expression": ["smile"]}, r"expression: \['smile'\] is not understood"),
        ({"gaze": "left"}, r"gaze: 'left' is not understood, allowed are two angles X,Y or camera"),
        ({"gaze": "80,0"}, r"gaze x: 80 is out of range"),
        ({"light": "lft"}, r"light: unknown name 'lft' \(did you mean left\?\)"),
        ({"light": "azimuth=400"}, r"light azimuth: 400 is out of range"),
        ({"light": {"azimut": 3}}, r"did you mean azimuth"),
        ({"light": 3}, r"light: 3 is not understood"),
        ({"light": "ambient=nan"}, r"light ambient: nan is not a number"),
    ],
)
def test_errors_name_the_field_the_value_and_what_is_allowed(values, message):
    with pytest.raises(InstaFaceError, match=message) as error:
        Edit(**values)
    assert "\n" not in str(error.value)


def test_presets_are_sets_of_known_numbers():
    for name, weights in EXPRESSIONS.items():
        assert weights and set(weights) <= set(ARKIT), name
        assert Edit(expression=name).weights == weights
    for name, numbers in LIGHTS.items():
        assert Edit(light=name).light == Light(**numbers)
    assert len(set(ARKIT)) == 52


def test_expressions_are_written_in_several_ways():
    assert Edit(expression="smile=0.5").weights["mouthSmileLeft"] == pytest.approx(0.4)
    assert Edit(expression="smile, mouthSmileLeft=0.1").weights["mouthSmileLeft"] == 0.1
    assert Edit(expression={"mouthSmileLeft": 0.1, "smile": 1}).weights["mouthSmileLeft"] == 0.8
    assert Edit(expression="neutral").weights == {"neutral": 1.0}
    assert Edit(expression="jawOpen").weights == {"jawOpen": 1.0}
    assert Edit(expression=None).weights == {}


def test_lights_and_gazes_are_written_in_several_ways():
    assert Edit(light="left,strength=0.5").light == Light(**{**LIGHTS["left"], "strength": 0.5})
    assert Edit(light="azimuth=60, elevation=20").light == Light(60, 20)
    assert Edit(light=Light(60, 20)) == Edit(light={"azimuth": 60, "elevation": 20})
    assert Edit(gaze="10,-5") == Edit(gaze=(10, -5)) == Edit(gaze=[10, -5])
    assert Edit(gaze="camera").gaze == "camera"


angles = st.none() | st.floats(-60, 60)
edits = st.builds(
    Edit,
    yaw=angles,
    pitch=angles,
    roll=angles,
    turn=st.floats(-20, 20),
    nod=st.floats(-20, 20),
    tilt=st.floats(-20, 20),
    expression=st.dictionaries(
        st.sampled_from(["jawOpen", "mouthSmileLeft", "neutral", "eyeLookUpLeft"]), st.floats(0, 1)
    ),
    gaze=st.none() | st.just("camera") | st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
    light=st.none() | st.sampled_from(sorted(LIGHTS)),
)


@given(edits)
def test_json_round_trip(edit):
    assert Edit.from_json(edit.to_json()) == edit
    assert (json.loads(edit.to_json()) == {}) == edit.is_identity


def test_json_that_is_no_edit_is_refused(tmp_path):
    for text, message in [
        ('{"yawn": 20}', r"unknown name 'yawn' \(did you mean yaw\?\), allowed are yaw, pitch"),
        ("[1]", "JSON object"),
        ('{"yaw": 20', "must be JSON"),
        ('{"yaw": NaN}', "yaw: nan"),
    ]:
        with pytest.raises(InstaFaceError, match=message):
            Edit.from_json(text)
    with pytest.raises(InstaFaceError, match=r"none\.json cannot be read"):
        Edit.load(tmp_path / "none.json")
    (tmp_path / "edit.json").write_text('{"yaw": 200}')
    with pytest.raises(InstaFaceError, match=r"edit\.json: yaw: 200"):
        Edit.load(tmp_path / "edit.json")


def test_ranges():
    assert parse_range("-30:30:7") == [-30, -20, -10, 0, 10, 20, 30]
    for wrong in ("30", "a:b:c", "0:1:1", "0:nan:3", "0:1:2.5", "0:1:99999"):
        with pytest.raises(InstaFaceError, match=wrong):
            parse_range(wrong)


# What edits do


def test_an_edit_that_asks_for_nothing_changes_nothing(face, model):
    assert Edit().is_identity and not Edit(turn=1).is_identity and not Edit(expression="neutral").is_identity
    same = apply(Edit(), face, model)
    for name in ("identity", "expression", "head", "body", "translation", "gaze", "albedo", "light", "jaw"):
        torch.testing.assert_close(getattr(same, name), getattr(face, name), rtol=0, atol=0)


def test_angles_are_absolute_or_added(face, model):
    head = apply(Edit(yaw=20, turn=3, nod=-4), face, model).head[0]
    assert head.tolist() == pytest.approx([23, -7, 2])
    with pytest.raises(InstaFaceError, match=r"turn: 100 brings the yaw from 5 to 105 degrees, allowed are -90 to 90"):
        apply(Edit(turn=100), face, model)


def test_weights_are_absolute_and_the_rest_stays(face, model):
    assert apply(Edit(expression={"jawOpen": 0.9}), face, model).expression[0].tolist() == pytest.approx(
        [0.9, 0.2, 0.4, 0.1]
    )
    assert apply(Edit(expression="neutral"), face, model).expression.abs().max() == 0
    half = apply(Edit(expression="neutral=0.5,jawOpen=1"), face, model).expression[0]
    assert half.tolist() == pytest.approx([1, 0.1, 0.2, 0.05])
    with pytest.raises(InstaFaceError, match="the face model sphere has no tongueOut"):
        apply(Edit(expression="tongueOut"), face, model)


def test_eye_look_names_turn_the_eyes(face, model):
    edit = Edit(gaze=(8, 6), expression="eyeLookOutLeft=0.5,eyeLookInRight=0.5,eyeLookDownRight=1")
    gaze = apply(edit, face, model).gaze[0]
    half = EYE_LOOK_DEGREES / 2  # out for the left eye and in for the right eye are both to the picture's right
    assert gaze.tolist() == [[half, 6], [half, -EYE_LOOK_DEGREES]]


@pytest.mark.parametrize("head", [(0, 0, 0), (25, 10, 0), (-30, -15, 20)])
def test_gaze_into_the_camera_whatever_the_head_does(head, model):
    face = model.neutral().replace(
        head=torch.tensor([head], dtype=torch.float32), translation=torch.tensor([[8.0, 5, -60]])
    )
    gaze = gaze_into_camera(face, model)[0]
    for eye, centre in enumerate(model.eyes):
        position = rotation_from_angles(face.head[0]) @ torch.tensor(centre) + face.translation[0]
        in_head = rotation_from_angles(torch.tensor([*gaze[eye], 0.0])) @ torch.tensor([0.0, 0.0, 1.0])
        sight = rotation_from_angles(face.head[0]) @ in_head
        assert torch.dot(sight, -position / position.norm()) > math.cos(math.radians(0.1))
    edited = apply(Edit(yaw=head[0], pitch=head[1], roll=head[2], gaze="camera"), face, model)
    torch.testing.assert_close(edited.gaze[0], gaze)


def brightness(face: FaceParameters, model: MorphableModel) -> torch.Tensor:
    """(3,) mean shading of the face that the camera sees."""
    return shade(facing_normals(face, model)[None], face.light)[0].clamp(min=0).mean(0)


@pytest.mark.parametrize("ambient", [0, 0.3, 1])
def test_a_lamp_at_the_camera_is_as_bright_as_the_photo_and_has_its_colour(face, model, ambient):
    lit = apply(Edit(light=Light(0, 0, 1, ambient)), face, model)
    torch.testing.assert_close(brightness(lit, model), brightness(face, model), rtol=0.03, atol=0)


def test_light_comes_from_where_it_is_said_and_grows_with_its_strength(face, model):
    left, right = (torch.tensor([[[x, 0.0, 0.6]]]) for x in (-0.8, 0.8))
    before = 0.0
    for strength in (0, 0.5, 1, 2):
        light = apply(Edit(light=Light(60, 0, strength, 0.3)), face, model).light
        contrast = float((shade(right, light) / shade(left, light)).mean())
        assert contrast == pytest.approx(1, abs=1e-5) if strength == 0 else contrast > before
        before = contrast
    assert brightness(apply(Edit(light="left"), face, model), model).sum() > 0


def test_combining_is_doing_one_after_the_other(face, model):
    first = Edit(yaw=10, turn=5, nod=2, expression="jawOpen=0.5,mouthSmileLeft=1,eyeLookUpLeft=1", light="left")
    for second in (
        Edit(yaw=-20, turn=1),
        Edit(turn=4, nod=3, expression="neutral=0.5,browInnerUp=0.7"),
        Edit(gaze=(3, 4), light="top"),
        Edit(expression="eyeLookDownLeft=0.5"),
        Edit(),
    ):
        both, one_by_one = apply(first | second, face, model), apply(second, apply(first, face, model), model)
        for name in ("head", "expression", "gaze"):
            torch.testing.assert_close(getattr(both, name), getattr(one_by_one, name))
        assert (first | second).light == (second.light or first.light)


def test_sequences_run_from_one_edit_to_the_other(face, model):
    a, b = apply(Edit(), face, model), apply(Edit(yaw=25, expression="jawOpen", light="left", gaze=(9, 0)), face, model)
    steps = sequence(a, b, 5)
    assert [float(step.head[0, 0]) for step in steps] == pytest.approx([5, 10, 15, 20, 25])
    torch.testing.assert_close(steps[2].light, (a.light + b.light) / 2)
    torch.testing.assert_close(steps[4].gaze, b.gaze)
    torch.testing.assert_close(interpolate(a, b, 0.5).identity, a.identity)
    with pytest.raises(InstaFaceError, match="at least 2"):
        sequence(a, b, 1)


def test_driving_takes_what_is_named_and_never_who_it_is(face, model):
    driver = model.neutral().replace(
        head=torch.tensor([[-20.0, 0, 0]]), identity=torch.ones(1, 3), albedo=torch.ones(1, 2), light=face.light * 3
    )
    everything = drive(face, driver)
    torch.testing.assert_close(everything.head, driver.head)
    torch.testing.assert_close(everything.expression, driver.expression)
    torch.testing.assert_close(everything.identity, face.identity)
    torch.testing.assert_close(everything.albedo, face.albedo)
    torch.testing.assert_close(everything.light, face.light)  # the same light, three times as strong
    only_pose = drive(face, driver, "pose")
    torch.testing.assert_close(only_pose.expression, face.expression)
    for wrong in ("identity", ""):
        with pytest.raises(InstaFaceError, match="allowed are pose, expression, light, gaze"):
            drive(face, driver, wrong)


@pytest.mark.parametrize(
    ("edit", "moves"),
    [
        (Edit(yaw=0), True),
        (Edit(roll=5), True),
        (Edit(nod=-3), True),
        (Edit(), False),
        (Edit(turn=0), False),
        (Edit(expression="smile", gaze="camera", light="left"), False),
    ],
)
def test_an_edit_knows_whether_it_moves_the_head(edit, moves):
    assert edit.moves_head is moves
