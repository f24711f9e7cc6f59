"""What a sentence about an unknown name suggests."""

from firstsight.errors import did_you_mean, nearest


def test_the_nearest_name_whatever_its_case():
    assert nearest("GREN", ["blue", "Green", "grey"]) == "Green"
    assert nearest("xyzzy", ["blue", "Green"]) is None
    assert nearest("a", []) is None
    assert nearest("OWL", ["owl", "Owl"]) == "owl"  # the first where two differ in their case alone


def test_the_end_of_a_sentence():
    assert did_you_mean("gren", iter(["blue", "green"])) == "; did you mean 'green'?"
    assert did_you_mean("xyzzy", ["blue", "green"]) == ""
