"""Virtual rasters and STAC files as lists of GeoTIFFs: read where places are, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("pyproj")

from rasterio import shutil  # noqa: E402
from rasterio.transform import Affine  # noqa: E402
from rasterio.vrt import WarpedVRT  # noqa: E402

from satclip_explore.encoders.products import headers  # noqa: E402
from satclip_explore.encoders.registry import load_encoder  # noqa: E402

PLACES = np.array([(10.01, 59.99), (12.6, 57.2), (24.99, 50.01), (25.3, 57.2), (39.9, 40.1)])


def write(path: Path, values, *, west=10, north=60, step=1, crs="EPSG:4326", nodata=None):
    """Write (H, W, D) as a GeoTIFF, by default a degree a pixel."""
    transform = Affine(step, 0, west, 0, -step, north)
    height, width, bands = values.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=bands, dtype=values.dtype,
        crs=crs, transform=transform, nodata=nodata, tiled=True, blockxsize=16, blockysize=16,
    ) as target:  # fmt: skip
        target.write(np.moveaxis(values, -1, 0))
    return path


def drawn(seed=0, shape=(20, 15, 3)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def source(file, band, source, target, extra="", kind="SimpleSource", relative=1):
    rects = "".join(
        f'<{tag}Rect xOff="{x}" yOff="{y}" xSize="{w}" ySize="{h}"/>'
        for tag, (x, y, w, h) in (("Src", source), ("Dst", target))
    )
    return (
        f'<{kind}><SourceFilename relativeToVRT="{relative}">{file}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>{rects}{extra}</{kind}>"
    )


def virtual(path: Path, sources, *, bands=3, size=(30, 20), kind="Float32", of_band="", extra=""):
    """Write a mosaic from (10 E, 60 N); `sources` gives the sources of a band."""
    inside = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{band}">{of_band}{sources(band)}</VRTRasterBand>'
        for band in range(1, bands + 1)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{size[0]}" rasterYSize="{size[1]}">'
        '<SRS dataAxisToSRSAxisMapping="2,1">EPSG:4326</SRS>'
        f"<GeoTransform>10, 1, 0, 60, 0, -1</GeoTransform>{extra}{inside}</VRTDataset>"
    )
    return path


def by_gdal(path, places):
    with rasterio.open(path) as file:
        return np.array(list(file.sample(places)))


LEFT, RIGHT, WHOLE = (0, 0, 15, 20), (15, 0, 15, 20), (0, 0, 15, 20)


@pytest.fixture
def halves(tmp_path):
    write(tmp_path / "tiles" / "a.tif", drawn(0))
    write(tmp_path / "tiles" / "b.tif", drawn(1), west=25)
    return tmp_path


def side_by_side(band):
    return source("tiles/a.tif", band, WHOLE, LEFT) + source("tiles/b.tif", band, WHOLE, RIGHT)


MOSAICS = {
    "side by side": side_by_side,
    # Two sources over one another: the later one is above, but for its nodata.
    "over one another": lambda band: (
        source("tiles/a.tif", band, WHOLE, LEFT)
        + source("tiles/b.tif", band, WHOLE, (10, 0, 15, 20))
    ),
    "bands in another order": lambda band: source("tiles/a.tif", 4 - band, WHOLE, LEFT),
    "a part": lambda band: source("tiles/a.tif", band, (2, 1, 6, 9), (12, 3, 6, 9)),
    "larger pixels": lambda band: source("tiles/a.tif", band, (0, 0, 10, 10), (0, 0, 30, 20)),
}


@pytest.mark.parametrize("name", MOSAICS)
def test_a_mosaic_gives_what_gdal_reads(halves, name):
    path = virtual(halves / "all.vrt", MOSAICS[name], of_band="<NoDataValue>nan</NoDataValue>")
    encoder = load_encoder(path)
    assert (encoder.family, encoder.name, encoder.embed_dim) == ("vrt", "all", 3)
    places = np.random.default_rng(0).uniform((10, 40), (40, 60), (200, 2))
    expected = by_gdal(path, places)
    assert np.isfinite(expected).any()
    np.testing.assert_array_equal(encoder.embed(places), expected)


def test_bands_may_lie_in_a_file_each(tmp_path):
    for band in range(3):
        write(tmp_path / f"{band}.tif", drawn(band)[..., :1])
    path = virtual(tmp_path / "v.vrt", lambda band: source(f"{band - 1}.tif", 1, WHOLE, LEFT))
    expected = [drawn(band)[2, 2, 0] for band in range(3)]
    np.testing.assert_array_equal(load_encoder(path).embed((12.6, 57.2))[0], expected)


def test_what_a_source_leaves_out_is_read_below_it(tmp_path):
    above = drawn(1)
    above[2, 2] = -9
    write(tmp_path / "a.tif", drawn(0))
    write(tmp_path / "b.tif", above)
    path = virtual(
        tmp_path / "v.vrt",
        lambda band: (
            source("a.tif", band, WHOLE, LEFT)
            + source("b.tif", band, WHOLE, LEFT, "<NODATA>-9</NODATA>", "ComplexSource")
        ),
    )
    got = load_encoder(path).embed([(12.6, 57.2), (13.6, 57.2)])
    np.testing.assert_array_equal(got, [drawn(0)[2, 2], drawn(1)[2, 3]])


def test_scales_of_a_virtual_raster_are_applied(tmp_path):
    write(tmp_path / "a.tif", np.full((20, 15, 3), 7, np.int16))
    path = virtual(
        tmp_path / "v.vrt", lambda band: source("a.tif", band, WHOLE, LEFT), kind="Int16",
        of_band="<Offset>1</Offset><Scale>0.5</Scale>",
    )  # fmt: skip
    assert load_encoder(path).embed((12.6, 57.2)).tolist() == [[4.5] * 3]


def test_a_flip_by_warping_is_the_file_itself(tmp_path):
    """AlphaEarth's GeoTIFFs have their first row in the south; a .vrt beside each turns it."""
    values = drawn()[::-1].copy()
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=20, width=15, count=3, dtype="float32",
        crs="EPSG:4326", transform=Affine(1, 0, 10, 0, 1, 40),
    ) as file:  # fmt: skip
        file.write(np.moveaxis(values, -1, 0))
    with rasterio.open(tmp_path / "a.tif") as file, WarpedVRT(
        file, transform=Affine(1, 0, 10, 0, -1, 60), height=20, width=15
    ) as turned:  # fmt: skip
        shutil.copy(turned, tmp_path / "a.vrt", driver="VRT")
    text = (tmp_path / "a.vrt").read_text()
    assert "VRTWarpedDataset" in text
    np.testing.assert_array_equal(
        load_encoder(tmp_path / "a.vrt").embed((12.6, 57.2))[0], drawn()[2, 2]
    )
    (tmp_path / "a.vrt").write_text(text.replace("</GDALWarpOptions>",
        "<Cutline>POLYGON ((0 0, 1 0, 1 1, 0 0))</Cutline></GDALWarpOptions>"))  # fmt: skip
    with pytest.raises(ValueError, match="GDAL alone computes"):
        load_encoder(tmp_path / "a.vrt")


RAW = "<SourceFilename>/etc/passwd</SourceFilename><ImageOffset>0</ImageOffset>"
INLINE = "<VRTDataset><VRTRasterBand><SimpleSource/></VRTRasterBand></VRTDataset>"


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (lambda b: source("../secret.tif", b, WHOLE, LEFT), "out of its folder"),
        (lambda b: source("/etc/passwd", b, WHOLE, LEFT, relative=0), "out of its folder"),
        (lambda b: source("file:///etc/passwd", b, WHOLE, LEFT), "out of its folder"),
        (lambda b: source("tiles/%2e%2e/%2e%2e/secret.tif", b, WHOLE, LEFT), "out of its folder"),
        (lambda b: source("/vsizip//etc/a.zip/a.tif", b, WHOLE, LEFT), "neither a file beside"),
        (lambda b: source("/vsicurl/http://localhost/a.tif", b, WHOLE, LEFT), "public network"),
        (lambda b: source("https://127.0.0.1/a.tif", b, WHOLE, LEFT), "public network"),
        (lambda b: source("NETCDF:a.nc:v", b, WHOLE, LEFT), "neither a file beside"),
        (lambda b: source("tiles/none.tif", b, WHOLE, LEFT), "which is not there"),
        (lambda b: source("inner.tif", b, WHOLE, LEFT), "is not a GeoTIFF"),
        (lambda b: source(INLINE, b, WHOLE, LEFT), "names"),
        (lambda b: f"{RAW}", "SourceFilename, which GDAL alone computes"),
        (lambda b: f"<PixelFunctionType/>{source('tiles/a.tif', b, WHOLE, LEFT)}",
         "PixelFunctionType, which GDAL alone computes"),
        (lambda b: source("tiles/a.tif", b, WHOLE, LEFT, "<LUT>0:1</LUT>", "ComplexSource"),
         "LUT, which GDAL alone computes"),
        (lambda b: source("tiles/a.tif", b, WHOLE, LEFT) * (1 if b == 1 else 2),
         "bands with sources in different places"),
        (lambda b: source("tiles/a.tif", b, WHOLE, (0, 0, -1, 20)), "a size above 0"),
        (lambda b: source("tiles/a.tif", b, (5, 0, 15, 20), LEFT), "takes pixels that a.tif lacks"),
        (lambda b: source("tiles/a.tif", 4, WHOLE, LEFT), "out of a.tif, which has 3 of float32"),
        (lambda b: "", "bands with sources in different places"),
    ],
)  # fmt: skip
def test_a_hostile_virtual_raster_is_one_sentence(halves, sources, message):
    """None of the files that it names outside of its folder is opened."""
    folder = halves / "inside"
    folder.mkdir()
    write(halves / "secret.tif", drawn())
    (halves / "tiles").rename(folder / "tiles")
    # A virtual raster with another name may not lead on.
    virtual(folder / "inner.tif", lambda b: source("../secret.tif", b, WHOLE, LEFT))
    path = virtual(folder / "v.vrt", sources)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        load_encoder(path, download=True).embed(PLACES)
    assert "\n" not in str(error.value)


def test_a_folder_does_not_follow_text_that_is_called_tif(halves):
    write(halves / "secret.tif", drawn())
    virtual(halves / "tiles" / "c.tif", lambda b: source("../secret.tif", b, WHOLE, LEFT))
    with pytest.raises(ValueError, match="c.tif is damaged or is not a GeoTIFF"):
        load_encoder(halves / "tiles")


def test_entities_and_damage_are_one_sentence(halves):
    path = virtual(halves / "v.vrt", side_by_side)
    text = path.read_text()
    for content, message in (
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]>' + text, "declares entities"),
        (text[:-40], "does not read as XML"),
        ("<?xml version='1.0'?><kml/>", "is no virtual raster"),
        (text.replace("10, 1, 0", "ten, 1, 0"), "is damaged"),
        (text.replace("EPSG:4326", "+proj=longlat +nadgrids=/etc/passwd"), "none"),
        (text.replace("<SRS", "<Group/><SRS"), "GDAL alone computes"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message) as error:
            load_encoder(path)
        assert "\n" not in str(error.value)


def item(name, href, bbox, **more):
    properties = more.pop("properties", {"datetime": "2024-01-01T00:00:00Z"})
    asset = {"href": href, "type": "image/tiff; application=geotiff", **more.pop("asset", {})}
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": name, "bbox": bbox, "links": [],
        "geometry": None, "properties": properties, "assets": {"embeddings": asset, **more},
    }  # fmt: skip


WEST, EAST = [10, 40, 25, 60], [25, 40, 40, 60]


def save(path: Path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def collection(*items):
    return {"type": "FeatureCollection", "features": list(items)}


def test_an_item_collection_reads_as_its_folder(halves, monkeypatch):
    both = (item("a", "tiles/a.tif", WEST), item("b", "./tiles/b.tif", EAST))
    opened, plain = [], headers.read_header
    monkeypatch.setattr(
        "satclip_explore.encoders.products.stac.read_header",
        lambda file: opened.append(file) or plain(file),
    )
    encoder = load_encoder(save(halves / "items.json", collection(*both)))
    assert (encoder.family, encoder.name) == ("stac", "items")
    inside = encoder.embed(PLACES[:3])
    assert {file.name for file in opened} == {"a.tif"}  # the other is far from every place
    folder = load_encoder(halves / "tiles")
    np.testing.assert_array_equal(inside, folder.embed(PLACES[:3]))
    np.testing.assert_array_equal(encoder.embed(PLACES), folder.embed(PLACES))
    assert encoder.coverage([*PLACES, (0.0, 0.0)]).tolist() == [True] * 5 + [False]


def test_pages_of_a_search_are_followed(halves):
    second = collection(item("b", "tiles/b.tif", EAST))
    save(halves / "2.json", second)
    first = collection(item("a", "tiles/a.tif", WEST))
    next_page = {"rel": "next", "href": "2.json"}
    path = save(halves / "1.json", first | {"links": [next_page]})
    folder = load_encoder(halves / "tiles")
    np.testing.assert_array_equal(load_encoder(path).embed(PLACES), folder.embed(PLACES))
    for away in ({"method": "POST"}, {"href": "https://example.org"}):
        save(path, first | {"links": [next_page | away]})
        with pytest.raises(ValueError, match="one page of a search"):
            load_encoder(path)
    save(path, first | {"links": [next_page]})
    save(halves / "2.json", second | {"links": [{"rel": "next", "href": "1.json"}]})
    with pytest.raises(ValueError, match="a search that goes round"):
        load_encoder(path)


def test_a_folder_with_one_virtual_raster_is_that_one(halves):
    folder = halves / "tiles" / "list"
    folder.mkdir()
    for name in "ab":
        (halves / "tiles" / f"{name}.tif").rename(folder / f"{name}.tiff-part")

    def sources(band):
        left = source("a.tiff-part", band, WHOLE, LEFT)
        return left + source("b.tiff-part", band, WHOLE, RIGHT)

    path = virtual(folder / "all.vrt", sources)
    np.testing.assert_array_equal(
        load_encoder(folder).embed(PLACES), load_encoder(path).embed(PLACES)
    )
    virtual(folder / "other.vrt", sources)
    with pytest.raises(ValueError, match="holds 2 virtual rasters; pass the path of one"):
        load_encoder(folder)


def test_a_collection_leads_to_its_items(halves):
    for name, box in (("a", WEST), ("b", EAST)):
        save(halves / "parts" / name / f"{name}.json", item(name, f"../../tiles/{name}.tif", box))
    links = [{"rel": "item", "href": f"./{name}/{name}.json"} for name in "ab"]
    top = {"rel": "parent", "href": "../catalog.json"}
    save(halves / "parts" / "collection.json",
         {"type": "Collection", "stac_version": "1.0.0", "links": [*links, top]})  # fmt: skip
    catalog = save(halves / "catalog.json", {
        "type": "Catalog", "stac_version": "1.0.0",
        "links": [{"rel": "child", "href": "./parts/collection.json"}],
    })  # fmt: skip
    np.testing.assert_array_equal(
        load_encoder(catalog).embed(PLACES), load_encoder(halves / "tiles").embed(PLACES)
    )
    with pytest.raises(ValueError, match="out of its folder"):  # the collection alone
        load_encoder(halves / "parts" / "collection.json")
    loop = {"rel": "child", "href": "catalog.json"}
    save(catalog, {"type": "Catalog", "stac_version": "1.0.0", "links": [loop]})
    with pytest.raises(ValueError, match="8 deep"):
        load_encoder(catalog)


def test_items_of_several_years_are_asked_about(tmp_path):
    features = []
    for year in (2023, 2024):
        write(tmp_path / f"{year}.tif", drawn(year))
        when = {"datetime": None, "start_datetime": f"{year}-01-01T00:00:00Z"}
        features.append(item(str(year), f"{year}.tif", WEST, properties=when))
    path = save(tmp_path / "items.json", collection(*features))
    with pytest.raises(ValueError, match="begin 2023-01-01, 2024-01-01; say which, with year="):
        load_encoder(path)
    encoder = load_encoder(path, year=2024)
    np.testing.assert_array_equal(encoder.embed((12.6, 57.2))[0], drawn(2024)[2, 2])
    assert encoder.name == "items:year2024"
    assert encoder.weights_hash != load_encoder(path, time="2023-01").weights_hash
    with pytest.raises(ValueError, match="no item of 2019; they begin 2023"):
        load_encoder(path, year=2019)


def test_bands_of_an_item_say_nodata_and_scale(tmp_path):
    values = np.full((20, 15, 3), 7, np.int16)
    values[2, 3] = 0
    write(tmp_path / "a.tif", values)
    bands = [{"nodata": 0, "scale": 0.5, "offset": 1}] * 3
    path = save(tmp_path / "a.json", item("a", "a.tif", WEST, asset={"raster:bands": bands}))
    got = load_encoder(path).embed([(12.6, 57.2), (13.6, 57.2)])
    np.testing.assert_array_equal(got, [[4.5] * 3, [np.nan] * 3])
    save(path, item("a", "a.tif", WEST, asset={"raster:bands": bands[:2]}))
    with pytest.raises(ValueError, match="describes 2 bands of a.tif, which has 3"):
        load_encoder(path)


def test_the_asset_that_holds_vectors_is_chosen_or_asked_for(halves):
    other = {"href": "tiles/b.tif", "type": "image/tiff"}
    preview = {"href": "https://example.org/a.png", "roles": ["thumbnail"]}
    path = save(halves / "a.json", item("a", "tiles/a.tif", WEST, mask=other, preview=preview))
    np.testing.assert_array_equal(load_encoder(path).embed((12.6, 57.2))[0], drawn()[2, 2])
    several = item("a", "tiles/a.tif", WEST, mask=other)
    several["assets"]["first"] = several["assets"].pop("embeddings")
    save(path, several)
    with pytest.raises(ValueError, match="has the assets mask, first; say with asset="):
        load_encoder(path)
    np.testing.assert_array_equal(
        load_encoder(path, asset="first").embed((12.6, 57.2))[0], drawn()[2, 2]
    )
    with pytest.raises(ValueError, match="no asset 'third'; it has mask, first"):
        load_encoder(path, asset="third")


def test_an_item_of_an_export_opens_what_it_was_written_for(tmp_path):
    pytest.importorskip("zarr")
    import satclip_explore as sx

    encoder = sx.load_encoder("xyz")
    for name in ("a.tif", "a.zarr", "a.parquet"):
        sx.export_embeddings(encoder, tmp_path / name, 30.0)
        (found,) = tmp_path.glob("*.stac.json")
        got = load_encoder(found).embed([(45.0, 15.0)])
        np.testing.assert_array_equal(got, load_encoder(tmp_path / name).embed([(45.0, 15.0)]))
        found.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"href": "../secret.tif"}, "out of its folder"),
        ({"href": "/etc/passwd"}, "out of its folder"),
        ({"href": "file:///etc/passwd"}, "out of its folder"),
        ({"href": "/vsicurl_streaming/http://localhost/"}, "neither a file beside it nor https"),
        ({"href": "http://127.0.0.1:8000/a.tif"}, "not on the public network"),
        ({"href": "http://example.org/a.tif"}, "not on the public network"),
        ({"href": "https://localhost/a.tif"}, "not on the public network"),
        ({"href": "gopher://example.org/a.tif"}, "neither a file beside it nor https"),
        ({"href": "none.tif"}, "which is not there"),
        ({"bbox": [40, 10, 60, 25]}, "lies in"),
        ({"bbox": [10, 400, 25, 60]}, "bbox"),
        ({"bbox": None}, "no bbox of 4 numbers"),
        ({"bbox": ["a"] * 4}, "no bbox of 4 numbers"),
        ({"links": [{"rel": "next", "href": "https://localhost"}]}, "not on the public network"),
        ({"links": [{"rel": "next", "href": "../secret.json"}]}, "out of its folder"),
        ({"features": []}, "lists no item"),
        ({"text": "{" * 100_000}, "does not read as JSON"),
        ({"text": '{"a": ' * 100_000}, "does not read as JSON"),
        ({"text": "[1, 2]"}, "is no STAC item"),
        ({"text": '{"stac_version": "1.0.0", "type": "Feature", '}, "does not read as JSON"),
        ({"text": '{"stac_version": "1.0.0", "type": "Other"}'}, "is no STAC item"),
    ],
)
def test_a_hostile_or_damaged_stac_file_is_one_sentence(halves, change, message):
    folder = halves / "inside"
    folder.mkdir()
    (halves / "tiles").rename(folder / "tiles")
    write(halves / "secret.tif", drawn())
    one = item("a", change.get("href", "tiles/a.tif"), change.get("bbox", WEST))
    content = collection(*change.get("features", [one])) | {"stac_version": "1.0.0"}
    content |= {"links": change["links"]} if "links" in change else {}
    path = save(folder / "items.json", content)
    if "text" in change:
        path.write_text(change["text"])
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        load_encoder(path, download=True).embed([(12.6, 57.2), (45.0, 15.0)])
    assert "\n" not in str(error.value)


def test_nothing_is_fetched_unless_it_may_be(halves, monkeypatch):
    def refuse(*_):
        raise AssertionError("asked the network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    path = save(halves / "items.json", item("a", "https://example.org/a.tif", WEST))
    with pytest.raises(FileNotFoundError, match="not on this machine. Pass download=True"):
        load_encoder(path, cache=halves / "cache")
