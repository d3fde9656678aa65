"""Where TorchSpatial's published files are: name to commit, path below pre_trained_models, hash."""

from __future__ import annotations

REPOSITORY = "seai-lab/TorchSpatial"

FILES: dict[str, tuple[str, str, str | None]] = {
    "fmow-space2vec-theory": (
        "bf92dabe6f76564536d9e43d7831c77f901f0f78",
        "space2vec_theory/model_fmow_Space2Vec-theory_inception_v3_0.0200_64_0.0001000_360.000_1_512_BATCH8192_leakyrelu.pth.tar",
        "26e3428edddfb7392ff2487bcc40ca6e7eafcc9d77992d5d0a7d194fcb359156",
    ),
    "fmow-sphere2vec-spherec": (
        "4434b1c14cebc70d37cdb46900749ad315597e16",
        "sphere2vec_sphereC/model_fmow_Sphere2Vec-sphereC_inception_v3_0.0050_64_0.0005000_1_512.pth.tar",
        None,
    ),
    "fmow-sphere2vec-spherec-plus": (
        "4434b1c14cebc70d37cdb46900749ad315597e16",
        "sphere2vec_sphereCplus/model_fmow_Sphere2Vec-sphereC+_inception_v3_0.0050_64_0.0001000_1_512.pth.tar",
        "2aa874bf24ba1865a039ee4165cb805f453d9dae24d3e4284648dd0bfe06e616",
    ),
    "fmow-sphere2vec-spherem": (
        "6d7c6388b11452185dfb1aa89019094d34b3652c",
        "sphere2vec_sphereM/model_fmow_Sphere2Vec-sphereM_inception_v3_0.0050_64_0.0001000_1_512.pth.tar",
        None,
    ),
    "fmow-xyz": (
        "4434b1c14cebc70d37cdb46900749ad315597e16",
        "xyz/model_fmow_xyz_inception_v3_0.0050_64_0.0005000_1_512.pth.tar",
        "cfaa24a45ad7f6564fc6079554ed10d358b21a1273197e87425a7ea278c6ad4f",
    ),
    "fmow-wrap": (
        "6d7c6388b11452185dfb1aa89019094d34b3652c",
        "wrap_ffn/model_fmow_wrap_ffn_inception_v3_0.0020_64_0.0005000_1_512.pth.tar",
        None,
    ),
    "yfcc-space2vec-grid": (
        "68c53860f553c79593d2e014696f27a7468dbf62",
        "space2vec_grid/model_yfcc_Space2Vec-grid_inception_v3_0.0100_64_0.0050000_360.000_1_512_BATCH4096_leakyrelu.pth.tar",
        "89d5cdb312dd644b9d226aea94b5c5394b4a1ca56ffd3385fb89059e9e69293f",
    ),
    "yfcc-space2vec-theory": (
        "bf92dabe6f76564536d9e43d7831c77f901f0f78",
        "space2vec_theory/model_yfcc_Space2Vec-theory_inception_v3_0.0100_64_0.0500000_360.000_1_256_BATCH4096_leakyrelu.pth.tar",
        None,
    ),
    "yfcc-sphere2vec-spherec": (
        "4434b1c14cebc70d37cdb46900749ad315597e16",
        "sphere2vec_sphereC/model_yfcc_Sphere2Vec-sphereC_inception_v3_0.0005_64_0.0001000_1_512.pth.tar",
        None,
    ),
    "yfcc-sphere2vec-spherem": (
        "4434b1c14cebc70d37cdb46900749ad315597e16",
        "sphere2vec_sphereM/model_yfcc_Sphere2Vec-sphereM_inception_v3_0.0010_64_0.0005000_1_512.pth.tar",
        None,
    ),
    "yfcc-xyz": (
        "4434b1c14cebc70d37cdb46900749ad315597e16",
        "xyz/model_yfcc_xyz_inception_v3_0.0020_64_0.0005000_1_512.pth.tar",
        None,
    ),
    "yfcc-wrap": (
        "6d7c6388b11452185dfb1aa89019094d34b3652c",
        "wrap_ffn/model_yfcc_wrap_ffn_inception_v3_0.0020_64_0.0005000_1_512.pth.tar",
        None,
    ),
}
"""SHA-256 is that of the files that were at hand when this was written, None for the others."""
