"""The hash embedder: the same everywhere, and near for texts that share words."""

import numpy as np

from services.embedder.hashing import HashEmbeddingModel
from services.embedder.model import TextKind

GOLDEN = [0.0, 0.9205746, -9e-07, 0.0, 0.0, -0.2761724, 0.0, -0.2761724]


def test_vectors_are_normalised_and_always_the_same() -> None:
    vectors = HashEmbeddingModel(64).embed(["the timing belt", "", "東京"], TextKind.PASSAGE)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_numbers_are_fixed() -> None:
    # An index built on one machine is searched on another, and after an update.
    [vector] = HashEmbeddingModel(8).embed(["belt"], TextKind.QUERY)
    np.testing.assert_allclose(vector, GOLDEN, atol=1e-6)


def test_texts_that_share_words_are_near() -> None:
    model = HashEmbeddingModel()
    query, right, wrong = model.embed(
        [
            "where is the timing belt tensioner",
            "adjust the tensioner of the timing belt",
            "a good soup needs time and salt",
        ],
        TextKind.QUERY,
    )
    assert query @ right > query @ wrong + 0.2
