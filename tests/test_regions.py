"""Regions by name, box and polygon: both sides of every edge, poles and the antimeridian."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely

from satclip_explore.atlas import country_table, load_atlas, outlines_geojson
from satclip_explore.geo import equal_area_sample
from satclip_explore.polygons import MAX_VERTICES
from satclip_explore.regions import Region, list_regions, region

SQUARE = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]


def polygon(*rings, kind="Polygon"):
    return {"type": kind, "coordinates": [[list(vertex) for vertex in ring] for ring in rings]}


def inside(what, *lonlat):
    return region(what).contains(list(lonlat)).tolist()


def test_continents_split_cities():
    cairo, berlin, novosibirsk, cayenne = (31.2, 30.0), (13.4, 52.5), (82.9, 55.0), (-52.3, 4.9)
    assert inside("Africa", cairo, berlin) == [True, False]
    assert inside("Europe", cairo, berlin, novosibirsk) == [False, True, False]
    assert inside("Asia", berlin, novosibirsk) == [False, True]
    assert inside("South America", cayenne, berlin) == [True, False]
    assert inside("France", cayenne) == [True]


def test_continents_divide_the_places_among_them():
    places = load_atlas().places
    names = list_regions().query("kind == 'continent'")["name"]
    assert len(names) == 7
    held = np.sum([region(name).contains(places) for name in names], axis=0)
    assert (held == 1).all()


def test_country_holds_its_places_and_its_harbors():
    places = load_atlas().places
    brazil = region("Brazil").contains(places)
    agree = brazil == (places["country"] == "Brazil")
    assert agree.mean() > 0.999
    # The station of Fernando de Noronha's mainland neighbor Recife lies at the very coast.
    assert inside("Brazil", (-34.85, -8.05), (-34.6, -8.05), (-33.0, -8.05)) == [True, True, False]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("BRAZIL", "Brazil"),
        ("bra", "Brazil"),
        ("  south  america ", "South America"),
        ("usa", "United States of America"),
        ("United States", "United States of America"),
        ("cote d'ivoire", "Ivory Coast"),
        ("Curacao", "Curaçao"),
        ("Tanzania", "United Republic of Tanzania"),
        ("Dem. Rep. Congo", "Democratic Republic of the Congo"),
        ("UK", "United Kingdom"),
        ("Antarctica", "Antarctica"),
        ("Niger", "Niger"),
        ("Türkiye", "Turkey"),
    ],
)
def test_names_are_found_in_any_spelling(typed, name):
    assert region(typed).name == name


def test_every_listed_region_opens():
    listed = list_regions()
    assert len(listed) == 7 + country_table()["country"].nunique()
    for row in listed.itertuples():
        found = region(row.name)
        assert found.name == row.name
        # Antarctica is both; the continent is the larger one.
        assert found.kind == row.kind or row.name == "Antarctica"
        west, south, east, north = found.bounds
        assert -180 <= west < 180
        assert west < east <= west + 360
        assert -90 <= south < north <= 90


def test_unknown_names_offer_the_closest():
    with pytest.raises(ValueError, match=r"called 'Brasil'; did you mean Brazil\?"):
        region("Brasil")
    with pytest.raises(ValueError, match=r"called 'Afrika'; did you mean Africa\?"):
        region("Afrika")


@pytest.mark.parametrize("text", ["", "?", "zzzz", "<script>alert(1)</script>", "x" * 1_000_000])
def test_hopeless_names_point_to_the_list(text):
    with pytest.raises(ValueError, match="list_regions") as caught:
        region(text)
    assert len(str(caught.value)) < 200


def test_bounds_of_countries_over_the_antimeridian_are_the_short_way():
    assert region("Fiji").bounds == pytest.approx((174.6, -21.7, 181.7, -12.4), abs=0.3)
    west, south, east, north = region("Russia").bounds
    assert (west, east) == pytest.approx((19.6, 190.3), abs=0.3)
    assert (south, north) == pytest.approx((41.2, 81.9), abs=0.3)
    assert region("Antarctica").bounds[:3] == (-180.0, -90.0, 180.0)
    assert region("Germany").bounds == pytest.approx((5.9, 47.3, 15.0, 55.1), abs=0.2)


def test_box_keeps_its_edges():
    box = (0.0, 0.0, 10.0, 5.0)
    assert inside(box, (0, 0), (10, 5), (5, 2), (-1e-6, 2), (10.001, 2), (5, 5.001)) == [
        True, True, True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("box", [(170, -30, -170, 0), (170, -30, 190, 0), (-190, -30, -170, 0)])
def test_box_crosses_the_antimeridian_however_it_is_written(box):
    lonlat = [(180, -10), (-180, -10), (170, -10), (-170, -10), (169.9, -10), (-169.9, -10), (0, 0)]
    assert inside(box, *lonlat) == [True, True, True, True, False, False, False]
    assert region(box).bounds == (170.0, -30.0, 190.0, 0.0)


def test_box_of_the_globe_holds_everything():
    globe = region((-180, -90, 180, 90))
    assert globe.contains(equal_area_sample(1000)).all()
    assert globe.contains([(0, 90), (0, -90), (180, 0)]).all()
    assert globe.bounds == (-180.0, -90.0, 180.0, 90.0)


@pytest.mark.parametrize(
    "box",
    [
        (0, 10, 5, 10),  # no height
        (0, 10, 5, 0),  # upside down
        (5, 0, 5, 10),  # no width
        (0, -91, 5, 0),
        (-200, 0, 200, 10),  # more than a turn
        (0, 0, float("nan"), 10),
        (0, 0, float("inf"), 10),
        (1e300, 0, 1e301, 10),
    ],
)
def test_impossible_boxes_are_refused(box):
    with pytest.raises(ValueError, match=r"bounds must|longitudes must"):
        region(box)


def test_polygon_of_vertices_closed_or_not():
    for vertices in (SQUARE, [*SQUARE, SQUARE[0]], np.array(SQUARE), SQUARE[::-1]):
        assert inside(vertices, (5, 5), (0.01, 0.01), (-0.01, 5), (5, 10.01)) == [
            True, True, False, False,
        ]  # fmt: skip
    assert region(SQUARE).bounds == (0.0, 0.0, 10.0, 10.0)
    assert region(SQUARE).kind == "polygon"


def test_holes_are_outside_and_islands_in_them_inside():
    hole, island = [(2, 2), (8, 2), (8, 8), (2, 8)], [(4, 4), (6, 4), (6, 6), (4, 6)]
    both = {
        "type": "GeometryCollection",
        "geometries": [polygon(SQUARE, hole), polygon(island)],
    }
    assert inside(polygon(SQUARE, hole), (1, 1), (5, 5), (3, 3)) == [True, False, False]
    assert inside(both, (1, 1), (5, 5), (3, 3)) == [True, True, False]


def test_polygon_over_the_antimeridian_goes_the_short_way():
    wrapped = [(170, -20), (-170, -20), (-170, 20), (170, 20)]
    past = [(170, -20), (190, -20), (190, 20), (170, 20)]
    cut = {
        "type": "MultiPolygon",
        "coordinates": [
            [[(170, -20), (180, -20), (180, 20), (170, 20), (170, -20)]],
            [[(-180, -20), (-170, -20), (-170, 20), (-180, 20), (-180, -20)]],
        ],
    }
    lonlat = [(175, 0), (-175, 0), (179.999, 19), (-179.999, 19), (165, 0), (-165, 0), (0, 0)]
    for what in (wrapped, wrapped[::-1], past, polygon(past), cut):
        assert inside(what, *lonlat) == [True, True, True, True, False, False, False]
        assert region(what).bounds == (170.0, -20.0, 190.0, 20.0)


def test_ring_round_a_pole_holds_that_pole():
    north = [(0, 60), (90, 60), (180, 60), (-90, 60)]
    south = [(lon, -lat) for lon, lat in north]
    assert inside(north, (45, 61), (-135, 89), (0, 90), (0, -90), (45, 59)) == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert inside(south, (45, -61), (-135, -89), (0, -90), (0, 90), (45, -59)) == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert region(south).bounds == (-180.0, -90.0, 180.0, -60.0)


def test_polygon_of_the_whole_map_holds_both_poles_and_the_antimeridian():
    world = polygon([(-180, -90), (180, -90), (180, 90), (-180, 90), (-180, -90)])
    assert region(world).contains([(0, 90), (0, -90), (180, 0), (-180, 10), (3, 4)]).all()
    assert region(world).contains(equal_area_sample(1000)).all()


def test_feature_collections_join_their_polygons():
    features = [
        {"type": "Feature", "properties": None, "geometry": polygon(SQUARE)},
        {"type": "Feature", "geometry": polygon([(20, 0), (30, 0), (30, 10)])},
    ]
    collection = {"type": "FeatureCollection", "features": features}
    assert inside(collection, (5, 5), (28, 3), (15, 5)) == [True, True, False]
    assert region(collection).bounds == (0.0, 0.0, 30.0, 10.0)


def test_heights_in_vertices_are_ignored():
    assert inside([(0, 0, 100), (10, 0, 5), (5, 10, 7)], (5, 3)) == [True]


def test_a_collection_of_countries_is_their_union():
    lonlat = equal_area_sample(20_000, seed=3)
    collection = outlines_geojson("countries")
    shapes = [shapely.geometry.shape(f["geometry"]).buffer(0) for f in collection["features"]]
    expected = shapely.contains_xy(shapely.union_all(shapes), *lonlat.T)
    found = region(collection).contains(lonlat)
    # No random place lies on an edge.
    assert (found == expected).all()
    assert 0.27 < found.mean() < 0.31


@pytest.mark.parametrize(
    "what",
    [
        "Chad",
        (-20, -40, 60, 40),
        (170, -30, -170, 10),
        (-100, -40, 150, 40),
        (-180, -90, 180, 90),
        [(170, -20), (-170, -20), (-170, 20), (170, 20)],
        [(-120, 70), (0, 70), (120, 70)],
    ],
)
def test_a_region_given_as_geojson_is_the_same_region(what):
    found = region(what)
    again = region(json.loads(json.dumps(found.__geo_interface__)))
    lonlat = equal_area_sample(20_000, seed=1)
    differ = found.contains(lonlat) != again.contains(lonlat)
    # Outlines are simplified to 0.1 degree and the raster has cells of that size.
    assert differ.mean() <= (2e-4 if found.kind == "country" else 0.0)
    assert found.contains(lonlat).any()


def test_shapely_and_geopandas_objects_are_read():
    geopandas = pytest.importorskip("geopandas")
    shape = shapely.Polygon(SQUARE)
    frame = geopandas.GeoDataFrame(geometry=[shape], crs="EPSG:4326")
    for what in (shape, frame, frame.to_crs("EPSG:3857")):
        assert inside(what, (5, 5), (0.01, 0.01), (10.01, 5)) == [True, True, False]


@pytest.mark.parametrize(
    "hostile",
    [
        {},
        {"type": "Point", "coordinates": [0, 0]},
        {"type": "LineString", "coordinates": SQUARE},
        {"type": ["Polygon"], "coordinates": [SQUARE]},
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": "everything"},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[]]},
        {"type": "Polygon", "coordinates": [5]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2]]]},  # no area
        {"type": "Polygon", "coordinates": [[["0", "0"], ["1", "0"], ["1", "1"]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [None, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [10**400, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [0, 91], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [541, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[-400, 0], [0, 0], [400, 0], [0, 9]]]},
        {"type": "MultiPolygon", "coordinates": {"a": 1}},
        {"type": "Feature", "geometry": None},
        {"type": "FeatureCollection", "features": None},
        {"type": "FeatureCollection", "features": []},
        {"type": "FeatureCollection", "features": [5]},
        {"type": "GeometryCollection"},
        [],
        [(0, 0), (1, 1)],
        [(0, 0), (1, 0), (float("inf"), 1)],
        [[[0, 0], [1, 0], [1, 1]]],
        5,
        None,
        b"Africa",
        object(),
    ],
)
def test_hostile_shapes_get_one_sentence(hostile):
    with pytest.raises(ValueError, match=r"\.$") as caught:
        region(hostile)
    assert len(str(caught.value)) < 250


def test_deeply_nested_collections_are_refused():
    node = polygon(SQUARE)
    for _ in range(50):
        node = {"type": "GeometryCollection", "geometries": [node]}
    with pytest.raises(ValueError, match="deep"):
        region(node)
    brackets = json.loads("[" * 500 + "]" * 500)
    with pytest.raises(ValueError, match="vertices"):
        region({"type": "Polygon", "coordinates": [brackets]})


def test_huge_polygons_are_refused_before_they_are_read():
    lon = np.linspace(0, 100, MAX_VERTICES + 1)
    with pytest.raises(ValueError, match="200,000 vertices"):
        region(np.stack([lon, np.sin(lon)], axis=1))
    turn = np.linspace(0, 2 * np.pi, 1000)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1).tolist()
    for rings in ([[ring]] * (MAX_VERTICES // 1000 + 1), [[SQUARE]] * (MAX_VERTICES // 20 + 1)):
        with pytest.raises(ValueError, match="200,000 vertices in at most 10,000 rings"):
            region({"type": "MultiPolygon", "coordinates": rings})


def test_edges_too_long_to_be_meant_are_explained():
    with pytest.raises(ValueError, match="add vertices in between"):
        region([(-100, -50), (60, -40), (100, 70), (-90, 60)])


def test_parts_without_area_do_not_spoil_the_rest():
    parts = [[[[50, 50], [51, 51], [52, 52], [50, 50]]], [[*SQUARE, SQUARE[0]]]]
    assert inside({"type": "MultiPolygon", "coordinates": parts}, (5, 5), (51, 51)) == [True, False]


def test_region_passes_through_and_shows_itself():
    africa = region("Africa")
    assert region(africa) is africa
    assert repr(africa).startswith("Region('Africa', kind='continent', bounds=(")
    assert "up to 50 km" in africa._repr_html_()
    assert "box 0, 0, 10, 5" in region((0, 0, 10, 5))._repr_html_()
    hostile = Region("<script>", "box", (0.0, 0.0, 1.0, 1.0))
    assert "<script>" not in hostile._repr_html_()


@pytest.mark.parametrize("what", ["Africa", (0, 0, 10, 5), SQUARE])
def test_batches_of_one_and_none_keep_their_axis(what):
    assert region(what).contains((5.0, 2.0)).shape == (1,)
    assert region(what).contains(np.empty((0, 2))).shape == (0,)
    with pytest.raises(ValueError, match="latitude"):
        region(what).contains([(0, 91)])


def test_order_of_the_places_is_kept():
    lonlat = equal_area_sample(500, seed=5)
    shape = region([(-80, -50), (60, -40), (90, 70), (-80, 60)])
    one_by_one = [shape.contains(place).item() for place in lonlat]
    assert shape.contains(lonlat).tolist() == one_by_one
    assert 0.2 < np.mean(one_by_one) < 0.8
