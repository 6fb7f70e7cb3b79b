"""The Explorer in a real browser: its numbers are the theory's, and it can be used by mouse, by keyboard and by ear."""

import re
from pathlib import Path

import numpy as np
import pytest
from test_advice import table_of

from kadam import stages
from kadam.advice import advise
from kadam.decay import STRATEGIES, Decay
from kadam.report import explorer
from kadam.theory import reference, stability

CSS = (Path(__file__).parents[2] / "book" / "_static" / "custom.css").read_text()
WIDTHS = (320, 360, 768, 1200)
ITERATIONS = (0, 1, 10, 100, 1000)
COMMON = [[*pair, name] for pair, name in explorer.PRESETS.items()]
START = "0.9", "0.999"


def pairs(count, seed=0):
    """(beta, gamma): of each three, one even in the square, one even in its corner's decades, one next to the boundary."""
    draw = np.random.default_rng(seed)
    even, corner = draw.uniform(size=(2, count)), 1 - 10 ** -draw.uniform(0, 5, size=(2, count))
    gamma = corner[1]
    near = np.array([np.clip(gamma**2 * (1 + draw.choice([-1, 0, 1], count) * 10 ** -draw.uniform(2, 16, count)), 0, 1), gamma])
    drawn = np.where(np.arange(count) % 3 == 0, even, np.where(np.arange(count) % 3 == 1, corner, near))
    return np.minimum(drawn, np.nextafter(1, 0))


EDGES = np.array(
    [
        (0, 0),
        (0, 0.9),
        (0.9, 0),
        (0.81, 0.9),
        (0.9, 0.999),
        (0.95, 0.95),
        (0, 1e-320),
        (1e-320, 0),
        (1e-310, 1e-310),
        (1e-9, 0.5),
    ]
).T
SQUARES = np.array([(np.nextafter(g * g, side), g) for g in (0.3, 0.9, 0.999) for side in (0, g * g, 1)]).T
PAIRS = np.concatenate([pairs(1000), EDGES, SQUARES], axis=1)


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """A page with the Explorer alone."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>{CSS}</style>'
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    path.write_text(
        f'<!doctype html><html lang="en"><head>{head}<title>x</title></head><body>{explorer.fragment()}</body></html>'
    )
    return path.as_uri()


@pytest.fixture
def page(visit, address):
    return visit(address)


def computed(page, function, *arguments):
    """A function of the script, for every column of the arguments at once."""
    columns = np.broadcast_arrays(*arguments)
    rows = [list(map(float, row)) for row in zip(*map(np.ravel, columns), strict=True)]
    found = page.evaluate("([name, rows]) => rows.map((row) => kadamExplorer[name](...row))", [function, rows])
    return np.reshape(np.array(found, dtype=float), columns[0].shape)


def part(page, name):
    return page.locator(f'[data-part="{name}"]').first


def words(page, name):
    return part(page, name).text_content().strip()


ADVICE = {"largestUpdate": "largest_update", "largestRms": "rms_update"}


@pytest.mark.parametrize(
    ("function", "theory", "apart"),
    [
        ("coefficient", stability.coefficient, 0.0),
        ("growthRate", stability.growth_rate, 1e-15),  # a difference of logarithms: on the boundary it is rounding
        ("paperGrowthRate", lambda **pair: stability.growth_rate(**pair, time="continuous"), 0.0),
        ("isStable", stability.is_stable, 0.0),
        ("criticalSilence", stability.critical_silence, 0.0),
    ],
)
def test_a_number_of_a_pair_is_the_theorys(page, function, theory, apart):
    beta, gamma = PAIRS
    expected = np.asarray(theory(beta=beta, gamma=gamma), dtype=float)
    np.testing.assert_allclose(computed(page, function, beta, gamma), expected, rtol=1e-9, atol=apart)


@pytest.mark.parametrize(("function", "theory"), [("maxUpdateBound", "max_update_bound"), ("rmsBound", "rms_bound")])
def test_a_bound_over_iterations_is_the_theorys(page, function, theory):
    (beta, gamma), n = PAIRS[:, None], np.array(ITERATIONS)[:, None]
    expected = getattr(stability, theory)(n, beta=beta, gamma=gamma)
    assert np.isinf(expected).any()
    np.testing.assert_allclose(computed(page, function, n, beta, gamma), expected, rtol=1e-9)


def test_the_typical_size_is_the_theorys(page):
    np.testing.assert_allclose(computed(page, "typicalUpdate", PAIRS[1]), stability.white_update(gamma=PAIRS[1]), rtol=1e-9)


@pytest.mark.parametrize(("function", "field"), ADVICE.items())
def test_what_holds_for_ever_is_what_advice_says(page, function, field):
    said = [getattr(advise((gamma, beta)), field) for beta, gamma in PAIRS.T]
    expected = [np.inf if x is None else x for x in said]
    assert np.isinf(expected).any()
    np.testing.assert_allclose(computed(page, function, *PAIRS), expected, rtol=1e-9)


@pytest.mark.parametrize("n", [10, 100])
def test_the_worst_gradients_and_their_updates_are_the_theorys(page, n):
    every, reached = PAIRS[:, ::3], 0
    script = "([n, pairs]) => pairs.map(([b, g]) => { const x = kadamExplorer.worstCaseGradients(n, b, g);"
    found = page.evaluate(script + "return [x, kadamExplorer.updates(x, b, g)]; })", [n, every.T.tolist()])
    for (beta, gamma), (gradients, caused) in zip(every.T, np.array(found, dtype=float), strict=True):
        worst = stability.worst_case_gradients(n, beta=beta, gamma=gamma)
        expected = np.where(worst / worst.max() < 1e-150, 0.0, worst / worst.max())
        np.testing.assert_allclose(gradients, expected, rtol=1e-9)
        np.testing.assert_allclose(caused, reference.kadam_updates(expected, [Decay(beta=beta, gamma=gamma)]), rtol=1e-9)
        if expected.min() > 0 and beta**n > 1e-250:  # else float64 has no room for the whole sequence
            bound = stability.max_update_bound(n, beta=beta, gamma=gamma)
            np.testing.assert_allclose(caused[-1], bound, rtol=1e-9)
            reached += 1
    assert reached > 200


def test_the_stages_are_those_of_every_strategy(page):
    some = np.minimum(PAIRS, 1 - 1e-9)  # a root of what is nearer to one may round to one, which Python refuses
    for strategy in STRATEGIES:
        for k in (1, 2, 5):
            script = "([pairs, k, s]) => pairs.map(([b, g]) => kadamExplorer.stages(g, b, k, s))"
            found = page.evaluate(script, [some.T.tolist(), k, strategy])
            expected = [[stage.betas for stage in stages(Decay(beta=b, gamma=g), k, strategy)] for b, g in some.T]
            np.testing.assert_allclose(found, expected, rtol=1e-12)


def power(words):
    """As JavaScript writes powers of ten."""
    return re.sub(r"e([+-])0", r"e\1", words)


def grows(sentence):
    """How fast: in how many steps by a factor e, or in words."""
    fast = re.search(r"updates can grow (without any limit|like the square root|by a factor e every (\S+) steps)", sentence)
    return float(fast[2].replace(",", "")) if fast[2] else fast[1]


def test_words_are_those_of_the_advice(page):
    for beta, gamma in np.concatenate([pairs(120, seed=1), EDGES[:, :6]], axis=1).T:
        advice = advise((gamma, beta))
        within, ever, typical, silence = table_of(advice.report())[gamma, beta][-4:]
        shown = page.evaluate("([b, g]) => kadamExplorer.numbers(999, b, g, 1)", [beta, gamma])
        assert (shown["within"], shown["ever"], shown["typical"]) == tuple(map(power, (within, ever, typical)))
        assert shown["silence"].removesuffix(" of steps") == silence
        said = page.evaluate("([b, g]) => kadamExplorer.verdict(b, g)", [beta, gamma])
        assert said.startswith("Stable. " if advice.stable_discrete else "UNSTABLE. ")
        assert ("narrower region" in said) == (advice.stable_discrete and not advice.stable_continuous)
        if not advice.stable_discrete:
            assert re.search(r"beta1² = (\S+)\.$", said)[1] == re.search(r"beta1\^2 = (\S+)\.( |$)", advice.sentence())[1]
            assert grows(said) == grows(advice.sentence())


def test_a_slip_is_recognised_as_the_advice_does(page):
    some = [
        (0.999, 0.9),
        (0.95, 0.9),
        (0.98, 0.9),
        (0.99, 0.0),
        (0.0, 0.0),
        (0.0, 0.5),
        (0.9, 0.999),
        (0.7, 0.1),
        (0.999, 0.998),
    ]
    for beta1, beta2 in some:
        for k in (1, 2):
            for strategy in STRATEGIES:
                state = {"beta1": beta1, "beta2": beta2, "k": k, "strategy": strategy}
                found = page.evaluate("([state, common]) => kadamExplorer.remark(state, common)", [state, COMMON])
                expected = " ".join(advise((beta1, beta2), k=k, strategy=strategy).remarks()).replace("0.0,", "0,")
                assert found == expected, state


def test_every_pair_that_people_use_can_be_picked_and_is_known_again(page):
    for name, pair in {name: pair for pair, name in explorer.PRESETS.items()}.items():
        page.get_by_label(name, exact=True).check(force=True)
        assert (float(part(page, "beta1").input_value()), float(part(page, "beta2").input_value())) == pair
        part(page, "beta1").fill("0.123")
        assert page.locator(":checked[type=radio]").count() == 0
        part(page, "beta1").fill(f"{pair[0]}")
        assert page.locator(":checked[type=radio] + span").text_content() == name


def test_the_swapped_pair_is_told_what_was_meant(page):
    page.get_by_label("the default, swapped").check(force=True)
    assert words(page, "remark") == advise((0.999, 0.9)).remarks()[0]
    assert words(page, "verdict").startswith(
        "UNSTABLE. Where gradients shrink, updates can grow by a factor e every 19.3 steps."
    )
    assert words(page, "region") == "outside both"
    assert words(page, "silence") == "90.2% of steps"


def test_what_is_typed_is_taken_as_it_is_and_what_is_no_rate_refused(page):
    part(page, "beta2").fill("0.99999")
    assert words(page, "ever") == f"{advise((0.9, 0.99999)).largest_update:.3g}"
    before = words(page, "verdict")
    for wrong in ("1", "-0.1", "", "nine", "1e5", "0x1"):
        part(page, "beta2").fill(wrong)
        assert part(page, "beta2").get_attribute("aria-invalid") == "true"
        assert words(page, "wrong") == "beta2 must be a number in [0, 1)"
        assert words(page, "verdict") == before
    part(page, "beta2").fill(".95")
    assert part(page, "beta2").get_attribute("aria-invalid") == "false"
    assert words(page, "wrong") == ""


def place(page):
    box = part(page, "handle").locator(".dot").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_point_is_dragged_and_follows(page):
    x, y = place(page)
    side = part(page, "plane").locator(".frame").bounding_box()["width"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + side / 4, y + side / 8, steps=4)
    page.mouse.up()
    assert float(part(page, "beta1").input_value()) == pytest.approx(0.99, abs=2e-4)
    assert 1 - float(part(page, "beta2").input_value()) == pytest.approx(10**-2.5, rel=0.02)
    assert place(page) == pytest.approx((x + side / 4, y + side / 8), abs=1)


def test_a_click_on_the_plane_takes_the_point_there(page):
    box = part(page, "plane").locator(".frame").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.75)
    assert words(page, "region") == "outside both"
    assert float(part(page, "beta1").input_value()) == pytest.approx(0.999, abs=2e-5)
    assert float(part(page, "beta2").input_value()) == pytest.approx(0.9, abs=2e-3)


def test_stages_move_the_square_and_speak_for_themselves(page):
    assert part(page, "stages").locator("rect").count() == 0
    part(page, "k").fill("2")
    part(page, "k").press("Tab")
    for strategy in STRATEGIES:
        part(page, "strategy").select_option(strategy)
        last = advise((0.9, 0.999), k=2, strategy=strategy)
        assert words(page, "ever") == f"{last.largest_update:.3g}"
        assert words(page, "typical") == "known for one stage only"
        box, (x, y) = part(page, "stages").locator("rect").bounding_box(), place(page)
        moved = box["x"] + box["width"] / 2 - x, box["y"] + box["height"] / 2 - y
        assert (max(map(abs, moved)) < 1) == (strategy == "repeat")


def test_a_slider_is_within_five_tabs_and_its_arrows_step_through_decades(page):
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "range":
            break
    assert page.evaluate("document.activeElement.dataset.part") == "beta1-slider"
    lacking = []
    for _ in range(6):
        lacking.append(1 - float(part(page, "beta1").input_value()))
        page.keyboard.press("ArrowRight")
    np.testing.assert_allclose(np.diff(np.log10(lacking)), -0.05, rtol=0.05)  # of rates rounded to three digits


def test_every_control_has_a_name_and_sliders_say_what_is_written(page):
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    kinds = ("radio", "textbox", "slider", "spinbutton", "combobox", "button", "image", "group")
    controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in kinds]
    assert [node["role"]["value"] for node in controls if not node.get("name", {}).get("value")] == []
    assert len(controls) == len(COMMON) + 2 * 2 + 3 + 1 + 3 + 1
    labels = page.locator("input:not([type=range]), select").evaluate_all("all => all.map((one) => one.labels.length)")
    assert set(labels) == {1}
    for name, shown in zip(("beta1", "beta2"), START, strict=True):
        slider = page.get_by_role("slider", name=f"{name}, slider")
        assert slider.get_attribute("aria-valuetext") == shown == part(page, name).input_value()
        slider.press("ArrowUp")
        assert slider.get_attribute("aria-valuetext") == part(page, name).input_value() != shown


def test_what_changed_is_told_once_the_reader_rests(page):
    assert words(page, "status") == ""
    page.get_by_label("language models").check(force=True)
    page.wait_for_function("document.querySelector('[role=status]').textContent.startsWith('Stable. No gradients')")


def test_the_address_holds_the_state_and_gives_it_back(page, visit, address):
    page.goto(f"{address}?highlight=adam&beta1=0.95#there")
    assert part(page, "beta1").input_value() == "0.95"
    part(page, "beta2").fill("0.98")
    part(page, "k").fill("2")
    part(page, "k").press("Tab")
    part(page, "strategy").select_option("meta")
    part(page, "n").select_option("30")
    page.wait_for_url("**n=30**")
    assert page.url == f"{address}?highlight=adam&beta1=0.95&beta2=0.98&k=2&strategy=meta&n=30#there"
    again = visit(page.url)
    for name in ("verdict", "within", "cause"):
        assert words(again, name) == words(page, name)
    assert again.url == page.url


@pytest.mark.parametrize(
    "asked", ["beta1=1.5&beta2=x&k=0&strategy=none&n=7", "beta1=&beta2=<b>&k=1.5&strategy=&n=", "beta1=NaN"]
)
def test_an_address_that_makes_no_sense_gives_the_default(visit, address, asked):
    page = visit(f"{address}?{asked}")
    assert tuple(part(page, name).input_value() for name in ("beta1", "beta2", "k", "n")) == (*START, "1", "100")


def test_two_on_one_page_do_not_meet(visit, tmp_path):
    path = tmp_path / "two.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><style>{CSS}</style>{explorer.fragment()}{explorer.fragment()}")
    page = visit(path.as_uri())
    ids = page.locator("[id]").evaluate_all("all => all.map((one) => one.id)")
    assert len(ids) == len(set(ids)) > 20
    page.get_by_label("SignSGD").nth(1).check(force=True)
    assert page.locator(":checked[type=radio] + span").all_text_contents() == ["PyTorch's default", "SignSGD"]


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(visit, address, width):
    page = visit(f"{address}?beta1=0.999&beta2=0.9&k=3&strategy=inverse_exp&n=1000", width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "all => all.filter((one) => one.getBoundingClientRect().right > innerWidth).map((one) => one.outerHTML)"
    assert page.locator(".kadam-explorer :not(svg *)").evaluate_all(wide) == []


STEMS = "document.querySelector('.gradients').getAttribute('d').split('M').length - 1"


def test_the_worst_case_is_whole_and_is_played_on_request(page):
    assert page.evaluate(STEMS) == 101
    button = page.get_by_role("button", name="Play")
    assert button.evaluate(f"(button) => {{ button.click(); return {STEMS}; }}") == 1
    page.wait_for_function(f"{STEMS} > 1")
    page.wait_for_function(f"{STEMS} === 101")


def test_whoever_wants_no_motion_is_offered_none(visit, address):
    page = visit(address, reduced_motion="reduce")
    assert not page.get_by_text("Play", exact=True).is_visible()
    assert page.evaluate(STEMS) == 101
