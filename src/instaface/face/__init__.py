"""The 3D face: parameters, models, camera, light."""

from instaface.face.camera import Camera
from instaface.face.mesh import Mesh
from instaface.face.model import MorphableModel
from instaface.face.openhead import LandmarkBasis, OpenHead
from instaface.face.parameters import FaceParameters
from instaface.face.rotation import angles_from_rotation, rotation_from_angles

__all__ = [
    "Camera",
    "FaceParameters",
    "LandmarkBasis",
    "Mesh",
    "MorphableModel",
    "OpenHead",
    "angles_from_rotation",
    "rotation_from_angles",
]
