"""What a project's files say: its version and what it is."""

from pathlib import Path

import pytest

from backstay.errors import BadPattern
from backstay.pattern.project import description_of, version_of


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        'version="1.2.3"\n',
        "version = '1.2.3'",
        '\ufeffversion = "1.2.3"\r\n',
        '# ours\n[project]\nversion = "1.2.3"\n',
        '[tool.poetry]\nversion = "1.2.3"\n',
        '[tool.anything]\nversion = " 1.2.3 "\n',
    ],
)
def test_a_version_file_is_any_toml_that_says_one(text: str, tmp_path: Path) -> None:
    assert version_of(write(tmp_path, version_toml=text)) == "1.2.3"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('[project]\nname = "a"\nversion = "2.0"\n', "2.0"),
        ('[tool.poetry]\nversion = "2.1"\n', "2.1"),
        ('[tool.other]\nversion = "9"\n', None),
        ('[project]\nname = "a"\n', None),
        ('[project]\nname = "no-such-package"\ndynamic = ["version"]\n', None),
        ('project = "odd"\ntool = 1\n', None),
        ("", None),
    ],
)
def test_a_project_file_says_one_or_none(text: str, version: str | None, tmp_path: Path) -> None:
    assert version_of(write(tmp_path, pyproject_toml=text)) == version


def test_where_the_build_decides_the_installed_package_says(tmp_path: Path) -> None:
    text = '[project]\nname = "fastapi"\ndynamic = ["version"]\n'
    found = version_of(write(tmp_path, pyproject_toml=text))
    assert found is not None
    assert found[0].isdigit()


def test_the_version_file_comes_first(tmp_path: Path) -> None:
    write(tmp_path, version_toml='version = "1"', pyproject_toml='[project]\nversion = "2"')
    assert version_of(tmp_path) == "1"
    write(tmp_path, version_toml="")
    assert version_of(tmp_path) == "2"


def test_without_files_nothing_is_said(tmp_path: Path) -> None:
    assert version_of(tmp_path) is None
    assert description_of(tmp_path) is None


@pytest.mark.parametrize("text", ["version = ", "version = 1.10", "version = 3", "version = [1]"])
def test_a_file_that_cannot_be_meant_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadPattern, match=r"version\.toml"):
        version_of(write(tmp_path, version_toml=text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# Shop\n\nSells things.\n", "Sells things."),
        ("Shop\n====\n\nSells things.\n", "Sells things."),
        ("<!-- secret -->\n# Shop\nSells.\n", "Sells."),
        ("No title.\n\n# One\n\ntext", "No title.\n\n# One\n\ntext"),
        ("## Not the title\n\ntext", "## Not the title\n\ntext"),
        ("# Only a title\n", None),
        ("  \n", None),
    ],
)
def test_the_readme_says_what_it_is(text: str, said: str | None, tmp_path: Path) -> None:
    assert description_of(write(tmp_path, README_md=text)) == said


def test_a_long_readme_is_cut_between_paragraphs(tmp_path: Path) -> None:
    text = "\n\n".join(f"{number} " + "x" * 900 for number in range(20))
    said = description_of(write(tmp_path, README_md=text))
    assert said is not None
    assert len(said) <= 5010
    assert said.endswith("x\n\n…")
    said = description_of(write(tmp_path, README_md="y" * 9000))
    assert said is not None
    assert len(said) <= 5010


def test_a_readme_of_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(BadPattern, match="UTF-8"):
        description_of(tmp_path)
