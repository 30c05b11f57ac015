from importlib import import_module
import os
from pathlib import Path
import re
import shutil

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from PIL import Image
import pytest
from scipy.ndimage import gaussian_filter

from dipy_nn_reg import cohort_report, report
from dipy_nn_reg.mapping.maps import displacement_to_mapping
from dipy_nn_reg.quality import reports

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])
# Options of Chromium: no sandbox, and no requests for updates.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(autouse=True)
def no_figures_left():
    """Check that a report closes its figures, of which a cohort has many."""
    plt.close("all")
    yield
    assert plt.get_fignums() == []


@pytest.fixture
def scene(rng, smooth_field):
    """Return a maker of two images, their labels, and the map between them."""

    def make(shape=(36, 40, 32)):
        moving = gaussian_filter(rng.random(shape), 1.5)
        window = np.ones(shape)
        for axis, size in enumerate(shape):
            window *= np.hanning(size).reshape(
                [-1 if a == axis else 1 for a in range(len(shape))]
            )
        moving = (moving * window**0.3).astype(np.float32)
        affine = AFFINE if len(shape) == 3 else None
        field = smooth_field(shape, sigma=5, largest=2)
        field[..., 0] += 3
        grids = {"static_affine": affine, "moving_affine": affine}
        mapping = displacement_to_mapping(field, **grids)
        static = mapping.transform(moving)
        labels = 1 + (moving > np.median(moving)).astype(np.int32)
        warped_labels = mapping.transform(labels.astype(float), interpolation="nearest")
        return {
            "mapping": mapping,
            "moving": moving,
            "static": static,
            "field": field,
            "labels": {
                "moving_labels": labels,
                "static_labels": warped_labels.astype(np.int32),
            },
            "grids": grids,
        }

    return make


def write(path, scene, field=None, inverse=None, **options):
    mapping = scene["mapping"]
    if field is not None:
        mapping = displacement_to_mapping(field, inverse=inverse, **scene["grids"])
    return report(path, mapping, scene["moving"], scene["static"], **options)


@pytest.mark.slow
def test_fields_of_different_quality_have_different_verdicts(scene, tmp_path):
    scene = scene()
    path = tmp_path / "report.html"
    field = scene["field"]
    still = 0 * field
    away = still.copy()
    away[..., 0] = 30
    # Every other slice of a part passes its neighbour.
    folded = field.copy()
    folded[10:26:2, ..., 0] += 2.2
    verdicts = [
        write(path, scene)["verdict"],
        write(path, scene, folded, -folded)["verdict"],
        write(path, scene, still, still)["verdict"],
        write(path, scene, away, -away)["verdict"],
    ]
    assert verdicts == ["Good", "Folded", "Misaligned", "Failed"]


@pytest.mark.parametrize("shape", [(40, 44), (36, 40, 1), (36, 40, 32)])
def test_a_page_is_self_contained(shape, scene, tmp_path):
    scene = scene(shape) if shape[-1] > 1 else scene_of_a_slice(scene)
    path = tmp_path / "report.html"
    measures = write(
        path,
        scene,
        **scene["labels"],
        title="<pair>",
        label_names={1: "dark", 2: "bright"},
        details={"Command": "do --it"},
    )
    page = path.read_text()
    assert list(tmp_path.iterdir()) == [path]
    assert measures["verdict"] in page and f"{measures['dice_after']:.3f}" in page
    assert "&lt;pair&gt;" in page and "<pair>" not in page and "do --it" in page
    urls = re.findall(r"""(?:src|href)="([^"]*)"|url\(([^)]*)\)""", page)
    assert all((a or b).startswith("data:") for a, b in urls)
    assert len(urls) > 5


def scene_of_a_slice(make):
    """Return a scene in 2D with a third axis of one voxel."""
    scene = make((36, 40))
    field = np.pad(scene["field"][:, :, None], [(0, 0)] * 3 + [(0, 1)])
    grids = {"static_affine": AFFINE, "moving_affine": AFFINE}
    return {
        "mapping": displacement_to_mapping(field, inverse=-field, **grids),
        **{name: scene[name][:, :, None] for name in ("moving", "static")},
        "labels": {n: array[:, :, None] for n, array in scene["labels"].items()},
    }


def test_the_affine_is_told_in_one_line(scene, tmp_path):
    scene, path = scene((30, 32)), tmp_path / "report.html"

    def line(prealign):
        mapping = displacement_to_mapping(0 * scene["field"], prealign=prealign)
        report(path, mapping, scene["moving"], scene["static"])
        return re.search('<p id="affine">.*: (.*)</p>', path.read_text())[1]

    assert line(None) == "none; the positions in the headers are used."
    # A turn by 90 degrees about the centre, at (14.5, 15.5), and a shift by 2.
    turn = np.array([[0, -1, 32.0], [1, 0, 1], [0, 0, 1]])
    assert line(turn) == (
        "turned by 90.0 degrees, centre shifted by 2.0 mm, scaled by 1.00 x 1.00."
    )


@pytest.mark.parametrize(
    "shape", [(30, 32), pytest.param((18, 20, 16), marks=pytest.mark.slow)]
)
def test_only_what_lies_outside_is_hatched(shape, scene, tmp_path):
    scene, path = scene(shape), tmp_path / "report.html"
    write(path, scene, 0 * scene["field"], 0 * scene["field"])
    assert "Hatched" not in path.read_text()
    assert not re.search(r"p\d-outside", path.read_text())
    write(path, scene)  # moves by 3 voxels
    assert "Hatched" in path.read_text()
    assert re.search(r"p0-outside \{ background-image: url\(data:", path.read_text())


def test_a_field_with_nan_has_a_page(scene, tmp_path):
    scene = scene()
    mapping = scene["mapping"]
    mapping.backward = mapping.backward.copy()
    mapping.backward[5:8] = np.nan
    measures = write(tmp_path / "report.html", scene)
    assert measures["verdict"] == "Failed"
    assert "not finite" in (tmp_path / "report.html").read_text()


def test_files_bring_their_affines(scene, tmp_path):
    """A moving image that is stored the other way round is where its header says."""
    scene = scene((30, 28, 26))
    expected = write(tmp_path / "a.html", scene)
    turned = AFFINE.copy()
    turned[0] = [2, 0, 0, -2 * 29]
    nib.save(nib.Nifti1Image(scene["moving"][::-1], turned), tmp_path / "m.nii")
    static = nib.Nifti1Image(scene["static"], AFFINE)
    found = report(tmp_path / "b.html", scene["mapping"], tmp_path / "m.nii", static)
    assert found.pop("verdict") == expected.pop("verdict")
    assert found == pytest.approx(expected, rel=1e-4, nan_ok=True)
    with pytest.raises(FileNotFoundError, match="no file"):
        report(tmp_path / "c.html", scene["mapping"], tmp_path / "x.nii", static)
    assert not (tmp_path / "c.html").exists()


def test_an_image_on_another_grid_leaves_no_page(scene, tmp_path):
    scene = scene((30, 32))
    with pytest.raises(ValueError, match="ends with .html"):
        write(tmp_path / "report.txt", scene)
    with pytest.raises(ValueError, match="on the grid of the map"):
        report(
            tmp_path / "a.html", scene["mapping"], scene["moving"][1:], scene["static"]
        )
    assert not list(tmp_path.iterdir())


def test_a_path_is_checked_before_anything_is_computed(scene, tmp_path, monkeypatch):
    scene = scene((30, 32))
    monkeypatch.setattr(reports, "apply_map", None)
    (tmp_path / "folder.html").mkdir()
    for name, error, message in [
        ("page.txt", ValueError, "ends with .html. Received path='.*page.txt'"),
        ("folder.html", ValueError, "the path of a file.*folder"),
        ("none/page.html", FileNotFoundError, "in a folder that exists"),
    ]:
        with pytest.raises(error, match=message):
            write(tmp_path / name, scene)
        with pytest.raises(error, match=message):
            cohort_report(tmp_path / name, [subject("a", "Good")])
    with pytest.raises(ValueError, match="one subject or more"):
        cohort_report(tmp_path / "a.html", [])
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_names_that_are_not_utf8_are_shown_as_well_as_possible(scene, tmp_path):
    scene, path = scene((30, 32)), tmp_path / "report.html"
    names = os.fsdecode(b"M\xfcller"), "\ud800\udcff", os.fsdecode(b"$\xff$")
    names = dict(enumerate(names, 1))
    labels = scene["labels"]
    details = {"Static": Path(os.fsdecode(b"in/na\xefve<.nii.gz"))}
    write(path, scene, title=names[1], label_names=names, details=details, **labels)
    page = path.read_text(encoding="utf-8")
    assert "<h1>M\ufffdller</h1>" in page
    assert "in/na\ufffdve&lt;.nii.gz" in page
    subjects = [subject(names[1], "Good", page="x.html")]
    cohort_report(tmp_path / "cohort.html", subjects, title=names[2])
    page = (tmp_path / "cohort.html").read_text(encoding="utf-8")
    assert "M\ufffdller" in page and "<h1>\ufffd\ufffd</h1>" in page


def test_static_labels_of_zeros_are_refused(scene, tmp_path):
    scene = scene((30, 32))
    labels = scene["labels"] | {"static_labels": np.zeros((30, 32), int)}
    with pytest.raises(ValueError, match="labels other than 0 in static_labels"):
        write(tmp_path / "a.html", scene, **labels)
    assert not list(tmp_path.iterdir())
    labels = scene["labels"] | {"moving_labels": np.zeros((30, 32), int)}
    measures = write(tmp_path / "a.html", scene, **labels)
    assert measures["dice_after"] == 0 and measures["verdict"] != "Good"
    assert measures["lost_labels_after"] == 2


THIN = [(1, 30, 32), (30, 1, 32), (2, 280, 300), (300, 280, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("shape", THIN)
def test_slices_and_thin_volumes_have_a_page(shape, rng, tmp_path):
    image = gaussian_filter(rng.random(shape), 1.5).astype(np.float32)
    still = np.zeros((*shape, 3), np.float32)
    mapping = displacement_to_mapping(still, inverse=still)
    labels = (image > np.median(image)).astype(int)
    label_maps = {"static_labels": labels, "moving_labels": labels}
    measures = report(tmp_path / "a.html", mapping, image, image, **label_maps)
    assert measures["verdict"] == "Good"


def test_images_of_zeros_are_not_good(tmp_path):
    zeros, still = np.zeros((20, 22, 24)), np.zeros((20, 22, 24, 3), np.float32)
    mapping = displacement_to_mapping(still, inverse=still)
    measures = report(tmp_path / "a.html", mapping, zeros, zeros)
    assert measures["verdict"] == "Misaligned" and measures["ncc_after"] == 0


def subject(name, verdict, **changes):
    measures = {"ncc_after": 0.9, "misplaced_after": 0.1, "folding": 0.0}
    return {
        "name": name,
        "page": f"{name}.html",
        "verdict": verdict,
        **measures,
    } | changes


def test_the_worst_come_first(tmp_path):
    subjects = [
        subject("a", "Good"),
        subject("b", "Look closely"),
        subject("c", "Failed", ncc_after=np.nan, misplaced_after=np.nan),
        subject("d", "Good", misplaced_after=0.2),
        subject("e", "Folded", folding=2.5),
    ]
    cohort_report(tmp_path / "cohort.html", subjects)
    page = (tmp_path / "cohort.html").read_text()
    assert re.findall(r'href="(\w)\.html"', page) == ["c", "e", "b", "d", "a"]
    assert "2 Good" in page and "not a number" in page and "2.50000" in page


@pytest.fixture
def browser():
    """Return a Chromium browser; skip the test on a machine without it."""
    path = os.environ.get("DIPY_NN_REG_BROWSER") or shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium")
    assert Path(path).exists()
    api = import_module("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


def screenshot(page, path, selector):
    page.locator(f"{selector} .stack").first.screenshot(path=path)
    return np.asarray(Image.open(path).convert("L"), float)


@pytest.mark.slow
def test_a_page_works_in_a_browser(scene, browser, tmp_path):
    scene = scene()
    still = 0 * scene["field"]
    write(tmp_path / "report.html", scene, still, still, **scene["labels"])
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("#verdict").inner_text().endswith("Misaligned")

    def see(name, selector=".compare"):
        return screenshot(page, tmp_path / f"{name}.png", selector)

    def changed_fraction(one, other):
        return np.mean(np.abs(one - other) > 8)

    first, second = (see(str(n), f".single:nth-child({n})") for n in (1, 2))
    assert first.shape == second.shape and changed_fraction(first, second) > 0.2
    assert see("moving", ".single:nth-child(4)").std() > 20
    page.locator(".single .stack").nth(1).hover()
    crosses = page.locator(".plane").first.locator(".single .cross")
    assert [cross.is_visible() for cross in crosses.all()] == [True, False, True, True]
    page.mouse.move(0, 0)
    assert not any(cross.is_visible() for cross in crosses.all())
    page.locator("#mode").select_option("fade")
    warped = see("warped")
    assert warped.std() > 20  # the picture is not empty
    page.locator("#mix").focus()
    page.keyboard.press("Home")  # the slider moves by the keyboard
    static = see("static")
    assert changed_fraction(static, warped) > 0.2
    expected = gray(scene["static"])
    assert np.corrcoef(expected.ravel(), small(static, expected.shape))[0, 1] > 0.9
    page.locator("#slice").focus()
    page.keyboard.press("ArrowRight")
    assert changed_fraction(see("next"), static) > 0.2
    page.keyboard.press("ArrowLeft")
    assert changed_fraction(see("back"), static) == 0
    page.locator("#contours").check()
    assert changed_fraction(see("contours"), static) > 0.02
    page.locator("#contours").uncheck()
    page.locator("#mode").select_option("half")
    half, width = see("half"), static.shape[1] // 2
    assert changed_fraction(half[:, : width - 4], static[:, : width - 4]) < 0.02
    assert changed_fraction(half[:, width + 4 :], warped[:, width + 4 :]) < 0.02
    page.locator("#mode").select_option("board")
    board = see("board")
    assert changed_fraction(board, static) > 0.05 < changed_fraction(board, warped)
    assert np.mean(np.minimum(abs(board - static), abs(board - warped)) > 8) < 0.05
    page.locator("#flicker").click()
    page.wait_for_function("document.getElementById('mix').value == 1")
    page.locator("#flicker").click()
    assert all(url.startswith(("file:", "data:")) for url in requests)
    assert sum(url.startswith("file:") for url in requests) == 1
    assert messages == []
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 1000  # nothing is cut off
    page.close()


def gray(image):
    """Return the axial slice in the middle of an object, as it is drawn."""
    middle = np.flatnonzero((image > 0).any((0, 1)))
    index = round((middle[0] + middle[-1]) / 2)
    # The first axis of this affine leads to the left already.
    return image[:, ::-1, image.shape[2] - 1 - index].T


def small(pixels, shape):
    picture = Image.fromarray(pixels.astype(np.uint8)).resize(shape[::-1])
    return np.asarray(picture, float).ravel()
