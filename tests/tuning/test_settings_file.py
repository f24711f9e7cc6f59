"""The file of chosen settings."""

import pytest

from firstsight.errors import InputError
from firstsight.methods import ESZSL, METHODS
from firstsight.tuning.settings_file import Chosen, read_settings, write_settings


def test_settings_file_keeps_other_tables_and_comments(tmp_path):
    path = tmp_path / "tuned.toml"
    spaen = METHODS["spaen"](margin=0.5, output="leaky")
    write_settings(path, "CUB", spaen, spaen.settings(), "from here")
    write_settings(path, "CUB sent", ESZSL(), ESZSL(gamma=3.0).settings(), "from there")
    write_settings(path, "CUB", ESZSL(), ESZSL(gamma=3.0).settings(), "from nowhere")
    write_settings(path, "CUB", ESZSL(), ESZSL(gamma=1e-5).settings(), "from elsewhere")
    assert read_settings(path) == {
        ("CUB", "eszsl"): Chosen({"gamma": 1e-5}, "from elsewhere"),
        ("CUB", "spaen"): Chosen({"margin": 0.5, "output": "leaky"}, "from here"),
        ("CUB sent", "eszsl"): Chosen({"gamma": 3.0}, "from there"),
    }
    text = path.read_text()
    assert '# from here\n["CUB".spaen]\n' in text
    assert '# from there\n["CUB sent".eszsl]\n' in text
    assert '# from elsewhere\n["CUB".eszsl]\n' in text
    assert "from nowhere" not in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[CUB.eszzl]\n", "unknown method 'eszzl'; did you mean 'eszsl'?"),
        ("[CUB.eszsl]\ngama = 1\n", "settings of eszsl must be its own; got 'gama' in {path}"),
        ("[CUB.eszsl]\ngamma = -1\n", "gamma must be a number of 0 or more; got -1"),
        ("gamma = 3\n", """settings must be in tables like ["CUB".eszsl]; got 'gamma' = 3 in {path}"""),
        (
            "[CUB]\ngamma = 3\n",
            """settings must be in tables like ["CUB".eszsl]; got 'CUB' = {{'gamma': 3}} in {path}""",
        ),
    ],
)
def test_a_wrong_settings_file(text, sentence, tmp_path):
    path = tmp_path / "tuned.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_settings(path)
    assert str(caught.value) == sentence.format(path=path)


@pytest.mark.parametrize("content", [None, b"[eszsl", b"\xff"])
def test_no_settings_file(content, tmp_path):
    path = tmp_path / "tuned.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"settings must be a TOML file; got .*tuned.toml"):
        read_settings(path)
