"""What a front-end build left behind, held against its limit."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gli_tasks.build.bundle import check, measure
from gli_tasks.build.plan import Asset, Bundle, bundle_findings, count_warnings, missing_sources
from gli_tasks.errors import BuildFailed


def noise(size: int) -> bytes:
    """Return bytes that gzip cannot make smaller, the same in every run."""
    return random.Random(size).randbytes(size)


def write(output: Path, index: str, **files: bytes) -> Path:
    output.mkdir()
    (output / "index.html").write_text(index)
    for name, content in files.items():
        (output / name.replace("__", ".")).write_bytes(content)
    return output


def test_what_index_loads_is_measured_as_gzip_sends_it(tmp_path: Path) -> None:
    index = (
        '<script type="module" src="/app.js?v=1"></script><link rel="stylesheet" href="./app.css">'
        '<link rel="modulepreload" href="/chunk.js"><link rel="icon" href="/icon.svg">'
        '<script src="https://cdn.example.com/x.js"></script><script src="//cdn.example.com/y.js"></script>'
        "<!-- <script src='/old.js'></script> --><script>inline()</script>"
    )
    output = write(
        tmp_path / "dist", index, app__js=b"a" * 5000, app__css=b"b" * 100, chunk__js=b"c", lazy__js=noise(50)
    )
    (output / "app.js.map").write_bytes(noise(9000))
    bundle, missing = measure(output)
    assert missing == ()
    assert {asset.path: asset.loaded for asset in bundle.assets} == {
        "app.js": True,
        "app.css": True,
        "chunk.js": True,
        "lazy.js": False,
    }
    sizes = {asset.path: asset for asset in bundle.assets}
    assert sizes["app.js"].size == 5000
    assert sizes["app.js"].gzip_size == len(gzip.compress(b"a" * 5000, 6, mtime=0))
    assert bundle.loaded_gzip_size == sum(asset.gzip_size for asset in bundle.assets if asset.loaded)
    assert bundle.folder_size == sum(path.stat().st_size for path in output.iterdir())


def test_maps_and_pictures_do_not_count_against_the_limit(tmp_path: Path) -> None:
    output = write(tmp_path / "dist", '<script src="/app.js"></script>', app__js=b"a")
    (output / "app.js.map").write_bytes(noise(20_000))
    (output / "hero.webp").write_bytes(noise(20_000))
    assert check(output, 1).folder_size > 40_000


def test_every_asset_over_the_limit_and_the_total_are_named(tmp_path: Path) -> None:
    index = '<script src="/one.js"></script><script src="/two.js"></script>'
    output = write(tmp_path / "dist", index, one__js=noise(3000), two__js=noise(900), lazy__js=noise(2000))
    with pytest.raises(BuildFailed) as caught:
        check(output, 1)
    text = str(caught.value)
    assert "one.js is 3.0 kB gzip, over 1 kB" in text
    assert "lazy.js is" in text
    assert "index.html loads 3.9 kB gzip, over 1 kB" in text
    assert "two.js" not in text
    assert check(output, 0).loaded_gzip_size > 3900


def test_the_sum_is_over_though_no_single_one_is(tmp_path: Path) -> None:
    index = '<script src="/one.js"></script><script src="/two.js"></script>'
    output = write(tmp_path / "dist", index, one__js=noise(600), two__js=noise(700))
    with pytest.raises(BuildFailed, match=r"index\.html loads"):
        check(output, 1)


def test_a_script_that_the_build_did_not_leave_is_named(tmp_path: Path) -> None:
    output = write(tmp_path / "dist", '<script src="/assets/app.js"></script>', app__js=b"")
    with pytest.raises(BuildFailed, match=r"index\.html loads assets/app\.js, which the build did not leave"):
        check(output, 0)


@pytest.mark.parametrize(
    "index",
    [
        '<script src="data:text/javascript,start()"></script>',
        '<link rel="stylesheet" href="data:text/css,b%7B%7D">',
        '<script src="blob:abc"></script>',
        '<script src="/a%20name.js"></script>',
        '<script src=" /a name.js "></script>',
        '<LINK REL="StyleSheet" HREF="/app.css">',
        "<script src></script><link rel href><script src=></script>",
        "",
    ],
)
def test_pages_that_load_nothing_absent(tmp_path: Path, index: str) -> None:
    output = write(tmp_path / "dist", index, app__css=b"b{}")
    (output / "a name.js").write_bytes(b"1")
    assert measure(output)[1] == ()


def test_a_style_is_loaded_however_its_tag_is_written(tmp_path: Path) -> None:
    output = write(tmp_path / "dist", '<LINK REL="StyleSheet" HREF="/app.css">', app__css=b"b{}")
    assert [asset.loaded for asset in measure(output)[0].assets] == [True]


def test_no_index_is_a_failure_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"no index\.html") as caught:
        check(tmp_path / "dist", 500)
    assert "build.output" in caught.value.remedy
    (tmp_path / "dist" / "index.html").mkdir(parents=True)
    with pytest.raises(BuildFailed, match=r"no index\.html"):
        check(tmp_path / "dist", 500)


def test_a_page_in_another_encoding_is_read(tmp_path: Path) -> None:
    output = write(tmp_path / "dist", "", app__js=b"1")
    (output / "index.html").write_bytes('<title>한글</title><script src="/app.js">'.encode("euc-kr"))
    assert measure(output)[0].assets[0].loaded


ASSETS = st.lists(
    st.builds(Asset, st.text("abc", min_size=1), st.integers(0, 10**7), st.integers(0, 10**7), st.booleans()),
    max_size=8,
).map(tuple)


@given(ASSETS, st.integers(1, 5000))
def test_nothing_is_found_exactly_when_all_fits(assets: tuple[Asset, ...], limit_kb: int) -> None:
    bundle = Bundle(assets, 0)
    fits = all(one.gzip_size <= limit_kb * 1000 for one in assets) and bundle.loaded_gzip_size <= limit_kb * 1000
    assert (bundle_findings(bundle, limit_kb) == ()) is fits
    assert bundle_findings(bundle, 0) == ()


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("", 0),
        ("WARNING: chunk is large\nwarn - slow\nWarnings:", 3),
        ("0 warnings\nno warnings\nbuilt with 0 errors, 0 warnings", 0),
        ("10 warnings", 1),
        ("forewarned\nwarner", 0),
        ("warning one warning two", 1),
    ],
)
def test_lines_that_warn_are_counted(output: str, count: int) -> None:
    assert count_warnings(output) == count


def test_missing_sources_are_said_in_their_order() -> None:
    sentences = missing_sources("index.html", ["b.js", "a.js", "c.js"], ["a.js"])
    assert [sentence.split()[2] for sentence in sentences] == ["b.js,", "c.js,"]
