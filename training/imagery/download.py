"""Fetching Blue Marble and the lights of the night: what embedded encoders saw, or NASA's own."""

from __future__ import annotations

from pathlib import Path

from satclip_explore.encoders.download import download_file, file_sha256
from satclip_explore.encoders.weights import DEFAULT_CACHE
from satclip_explore.progress import Cancel, Meter, OnProgress, Progress, stop_if

COPY = (
    "https://raw.githubusercontent.com/Lushkies/blue-marble-desktop/"
    "acde900/assets/textures/world.topo.2004{month:02d}.3x8192x4096.jpg"
)
"""A copy of NASA's images at 8,192 x 4,096 pixels, at a fixed commit, so that it has checksums."""

NASA = (
    "https://assets.science.nasa.gov/content/dam/science/esd/eo/images/bmng/bmng-topography/"
    "{name}/world.topo.2004{month:02d}.3x5400x2700.jpg"
)
"""The producer's own, 5,400 x 2,700 pixels; NASA publishes no checksums."""

COPY_LIGHTS = (
    "https://raw.githubusercontent.com/mdoege/Earth/d0a4fff/BlackMarble_2016_3km_gray_geo.png"
)
"""A copy of Black Marble 2016 at 4,096 x 2,048 pixels, gray levels, at a fixed commit."""

NASA_LIGHTS = (
    "https://assets.science.nasa.gov/content/dam/science/esd/eo/images/imagerecords/144000/144897/"
    "BlackMarble_2016_01deg_gray.jpg"
)
"""The producer's own, 3,600 x 1,800 pixels."""

NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)

SHA256 = (
    "ffb3a9dc375dced16de6f2d77ab4f7bba0d61890503d688d38d5da9d38819695",
    "8487603f8b610e7033cd0e36510636aa7633950ec8f62b98b740a2fd76ced47e",
    "1eae4a70789924bfbae9bbce9bba31971c90702d693d977c834cb59e9f5050b3",
    "7b883748f350e5bce06e3b3e94f06f4dbc84dc5ec77d9fe447e1a86280a6b4d2",
    "db6e4f8073e26714f6170ee5d060288bba5afc5256afbd95201f548a846f7a7d",
    "65adb629fe239e85b4be787713c8ee33f09ceb22e1ee6416171b5d3ea18a4488",
    "72bdc219ed573bc8f983739c8aabe51216b065856ac922e2d67d42457351f26d",
    "5ed3b42d55b92c54c53106a32d65aa5b25d55e9246db89de07957ad6fb339b70",
    "ad7c45d6d87ed271403af4a8d7e4e86fbcb0c00d7f664975be37dc892c585791",
    "5be3914d616fe43779ec84aa6f8ad6df2ea57b745eb1e7a62f8660153f4ab9c9",
    "ed0bc1fa73ea8d29a8ce969064b5fa972f2f2fe05eec6eac88b99ece5f82af16",
    "b6ac36e557c4b90304ab75553f20a6e2f1744080c6a9e5b9e72407bc432d95a0",
    "862a6624b44768c90d10daeb6a0d2d90a072502cc98c0aafabe32a0f90319556",
)
"""Of the copy, January to December, then the lights."""

SIZES = (
    *(2_728_683, 2_701_134, 2_644_029, 2_549_915, 2_486_735, 2_419_640),
    *(2_300_393, 2_295_127, 2_446_064, 2_536_731, 2_678_561, 2_723_645),
    1_004_682,
)
"""Bytes of the copy's images, in the same order."""


def blue_marble_folder() -> Path:
    """Return the folder that the images are kept in unless another is named."""
    return DEFAULT_CACHE.expanduser() / "blue-marble"


def missing_bytes(folder: str | Path) -> int:
    """Count what is left to fetch of the copy; 0 when all thirteen images are there."""
    paths = (Path(folder) / _name(url) for url, _ in _files("copy"))
    return sum(
        size
        for path, size in zip(paths, SIZES, strict=True)
        if not path.is_file() or path.stat().st_size != size
    )


def download_blue_marble(
    folder: str | Path | None = None,
    *,
    origin: str = "copy",
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> Path:
    """Fetch twelve monthly images and one of the night; what is there and whole is kept.

    Parameters
    ----------
    folder : str or pathlib.Path, optional
        Where they go; default `blue_marble_folder()`.
    origin : {"copy", "nasa"}
        "copy": 8,192 x 4,096 pixels, checked against their SHA-256; "nasa": 5,400 x 2,700 pixels.
    on_progress : callable, optional
        Called with a `Progress` in bytes; NASA does not say how many there will be.
    cancel : Cancel, optional
        Set it to stop; finished images are kept.

    Returns
    -------
    pathlib.Path
        The folder, for `pretrain("laptop", data=folder)`.

    Raises
    ------
    Cancelled
        If it was stopped.
    ValueError
        If the origin is unknown.
    DownloadError
        If the connection fails, the disk is full, or a file does not have its checksum; finished
        images are kept.
    """
    if origin not in ("copy", "nasa"):
        raise ValueError(f"origin must be 'copy' or 'nasa'; got {origin!r}.")
    folder = Path(folder) if folder is not None else blue_marble_folder()

    report = Meter("download", on_progress, total=sum(SIZES) if origin == "copy" else 0)
    before = 0
    for url, expected in _files(origin):
        path = folder / _name(url)
        report(before)
        stop_if(cancel, "the download was stopped; finished images are kept.")
        if not path.is_file() or (expected is not None and file_sha256(path) != expected):

            def arrived(progress: Progress, before: int = before) -> None:
                report(before + progress.done)

            download_file(url, path, expected, on_progress=arrived, cancel=cancel)
        before += path.stat().st_size
    report(before)
    return folder


def _files(origin: str) -> list[tuple[str, str | None]]:
    """List addresses, and checksums where there are any: twelve months, then the night."""
    if origin == "copy":
        months = [COPY.format(month=month) for month in range(1, 13)]
        return list(zip([*months, COPY_LIGHTS], SHA256, strict=True))
    months = [NASA.format(month=month, name=name) for month, name in enumerate(NAMES, start=1)]
    return [(url, None) for url in [*months, NASA_LIGHTS]]


def _name(url: str) -> str:
    return url.rpartition("/")[2]
