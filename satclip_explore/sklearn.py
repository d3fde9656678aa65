"""Location embeddings inside scikit-learn: a transformer for pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.registry import load_encoder
from satclip_explore.files.location import locate
from satclip_explore.geo import as_lonlat

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "estimators need scikit-learn: pip install 'satclip-explore[train]'"
    ) from error


class LocationEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn places into embeddings, as a step of a pipeline.

    Parameters
    ----------
    encoder : str or LocationEncoder, optional
        A registered name, a path, or an encoder; default the embedded one.
    passthrough : bool
        Keep the other numeric columns of a frame beside the embedding.
    device : str
        "auto" takes CUDA where there is one.

    Attributes
    ----------
    encoder_ : LocationEncoder
        The encoder in use.
    n_features_in_ : int
        Columns seen by `fit`.

    Notes
    -----
    Takes frames with coordinates (columns with names as in `files.columns`, or a geometry), or
    arrays whose first two columns are longitude and latitude in degrees. Nothing is learned from
    the data: `fit` checks it and loads the encoder.

    Examples
    --------
    >>> LocationEmbedder("xyz").fit_transform([[0.0, 90.0]]).round(3).tolist()
    [[0.0, 0.0, 1.0]]
    """

    def __init__(
        self,
        encoder: str | LocationEncoder | None = None,
        *,
        passthrough: bool = False,
        device: str = "auto",
    ) -> None:
        self.encoder = encoder
        self.passthrough = passthrough
        self.device = device

    def fit(self, X: Any, y: Any = None) -> LocationEmbedder:
        """Check the places and load the encoder.

        Parameters
        ----------
        X : frame or array_like, shape (N, 2 or more)
            Places; see the class.
        y : ignored
            For pipelines.

        Returns
        -------
        LocationEmbedder
            Itself.

        Raises
        ------
        ValueError
            If there are no coordinates, or they are not valid degrees.
        """
        del y
        self._places(X, reset=True)
        self.encoder_ = (
            self.encoder
            if isinstance(self.encoder, LocationEncoder)
            else load_encoder(self.encoder, device=self.device)
        )
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Embed places.

        Parameters
        ----------
        X : frame or array_like, shape (N, 2 or more)
            Places; see the class.

        Returns
        -------
        numpy.ndarray, shape (N, D) or wider with `passthrough`
            Unnormalized embeddings; NaN where the encoder has no coverage.
        """
        check_is_fitted(self, "encoder_")
        places, covariates = self._places(X, reset=False)
        embeddings = self.encoder_.embed(places)
        if not self.passthrough:
            return embeddings
        return np.concatenate([embeddings, covariates.astype(embeddings.dtype)], axis=1)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the columns that `transform` gives: encoder name and number.

        Parameters
        ----------
        input_features : ignored
            For pipelines.
        """
        del input_features
        check_is_fitted(self, "encoder_")
        name = self.encoder_.name.replace("-", "_")
        names = [f"{name}_{i}" for i in range(self.encoder_.embed_dim)]
        return np.array(names + (list(self._covariates) if self.passthrough else []), dtype=object)

    def _places(self, X: Any, *, reset: bool) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Separate coordinates from the other numeric columns."""
        if hasattr(X, "columns") and all(isinstance(column, str) for column in X.columns):
            places = as_lonlat(X)
            covariates = X.drop(columns=list(locate(X).used)).select_dtypes("number")
            if reset:
                self.n_features_in_ = X.shape[1]
                self.feature_names_in_ = np.array(X.columns, dtype=object)
                self._covariates = tuple(map(str, covariates.columns))
            elif tuple(map(str, covariates.columns)) != self._covariates and self.passthrough:
                raise ValueError(
                    f"fit saw the columns {', '.join(self._covariates) or 'none'} beside the "
                    f"coordinates; got {', '.join(map(str, covariates.columns)) or 'none'}."
                )
            return places, covariates.to_numpy()
        least = 2 if reset else 1  # afterward the count is compared with what fit saw
        array = validate_data(self, X, dtype=np.float64, reset=reset, ensure_min_features=least)
        if reset:
            self._covariates = tuple(f"x{i}" for i in range(2, array.shape[1]))
        return as_lonlat(array[:, :2]), array[:, 2:]

    def __sklearn_tags__(self) -> Any:
        """Say that the result has the encoder's dtype, not that of the input."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether `fit` has been called."""
        return hasattr(self, "encoder_")
