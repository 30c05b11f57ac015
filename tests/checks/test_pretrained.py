import pytest

from dipy_nn_reg.checks import Pretrained, as_pretrained


def test_the_name_stands_for_the_default_options():
    assert as_pretrained("pretrained") == Pretrained()
    assert as_pretrained(Pretrained(passes=2)).passes == 2
    assert as_pretrained(None) is None and as_pretrained(object()) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smoothness": -0.1}, "smoothness.*-0.1"),
        ({"smoothness": 1.1}, "smoothness.*<= 1.*1.1"),
        ({"smoothness": None}, "smoothness.*None"),
        ({"passes": 0}, "passes.*0"),
        ({"passes": 1.5}, "passes.*1.5"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    Pretrained().check()
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        Pretrained(**options).check()
