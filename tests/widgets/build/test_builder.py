"""Components become pages that load nothing, the same bytes each time; faults have a place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backstay.errors import BadWidget
from backstay.widgets.build import Outcome, Problem, find_components
from backstay.widgets.face import compose
from tests.js.toolchain import require_builder

PLAIN = "export default () => <b>plain</b>;\n"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><circle r="1"/></svg>'


def build(folder: Path, files: dict[str, str | bytes]) -> Outcome:
    """Build the one face in these files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (outcome,) = require_builder().build(find_components(folder))
    return outcome


def page_of(folder: Path, files: dict[str, str | bytes]) -> str:
    outcome = build(folder, files)
    assert outcome.problems == ()
    assert outcome.page is not None
    return outcome.page


def problem_of(folder: Path, files: dict[str, str | bytes]) -> Problem:
    outcome = build(folder, files)
    assert outcome.page is None
    return outcome.problems[0]


def test_styles_images_and_fonts_are_inside_the_page(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        {
            "board/index.jsx": 'import "./look.css"; import dot from "./dot.svg"; import big from '
            '"./big.png"; export default () => <p><img src={dot} /><img src={big} /></p>;',
            "board/look.css": '@import "./more.css"; @font-face { font-family: F; src: url(./f.woff2) }',
            "board/more.css": "p { background: url(./dot.svg) }",
            "board/dot.svg": SVG,
            "board/big.png": b"\x89PNG" + bytes(50_000),
            "board/f.woff2": bytes(20_000),
        },
    )
    assert "data:image/png;base64," in page
    assert "data:font/woff2;base64," in page
    assert page.count("data:image/svg+xml") == 2
    markup = re.sub(r"<script>.*</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(?:src|href)=|url\((?![\"']?data:)|@import", markup)
    compose(page, title="Board")  # which refuses whatever the policy of pages would block


def test_the_same_sources_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "board/index.jsx": 'import { useTheme } from "backstay-widgets"; import "./a.css"; import '
        '{ x } from "./x.js"; export default () => <b>{useTheme()}{x}</b>;',
        "board/x.js": "export const x = 1;",
        "board/a.css": "b { color: teal }",
    }
    one = page_of(tmp_path / "one", files)
    other = page_of(tmp_path / "elsewhere" / "and deeper", files)
    assert one == other
    assert str(tmp_path) not in one


def test_typescript_is_built_too(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        {
            "board/index.tsx": "type P = { n?: number }; export default (p: P) => <b>{p.n as number}</b>;"
        },
    )
    assert "as number" not in page


def test_text_that_would_end_the_script_does_not(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        {
            "board/index.jsx": 'import "./a.css"; export default () => <b>{"</script><!--<script>"}</b>;',
            "board/a.css": 'b::after { content: "</style>" }',
        },
    )
    assert page.count("</script>") == 1
    assert page.count("</style>") == 1
    assert "<!--" not in page


def test_the_project_has_its_own_react_if_it_brings_one(tmp_path: Path) -> None:
    mine = "export const createElement = 'MY OWN REACT'; export const createRoot = () => 0;"
    jsx = "export const jsx = () => 'MY OWN JSX'; export const jsxs = jsx;"
    page = page_of(
        tmp_path / "widgets",
        {
            "board/index.jsx": PLAIN,
            "../node_modules/react/package.json": '{"name":"react","main":"index.js","type":"module"}',
            "../node_modules/react/index.js": mine,
            "../node_modules/react/jsx-runtime.js": jsx,
            "../node_modules/react-dom/package.json": '{"name":"react-dom","type":"module"}',
            "../node_modules/react-dom/client.js": "export const createRoot = () => ({ render() {} });",
        },
    )
    assert "MY OWN JSX" in page
    assert len(page) < 2_000


def test_a_fault_of_syntax_has_file_line_and_column(tmp_path: Path) -> None:
    found = problem_of(tmp_path, {"board/index.jsx": "export default () => (\n  <b>oops</i>\n);\n"})
    assert found.file == tmp_path / "board" / "index.jsx"
    assert (found.line, found.column) == (2, 12)
    assert "closing tag" in found.message
    assert "<b>oops</i>" in found.frame
    assert found.place.endswith("index.jsx:2:12")


def test_an_import_that_is_not_there_is_named_where_it_is_written(tmp_path: Path) -> None:
    found = problem_of(tmp_path, {"board/index.jsx": 'import "./nope.js";\n' + PLAIN})
    assert "./nope.js" in found.message
    assert (found.line, found.column) == (1, 8)
    assert "backstay-entry" not in found.frame


def test_a_file_without_default_export_is_told_what_to_do(tmp_path: Path) -> None:
    found = problem_of(tmp_path, {"board/index.jsx": "export const Board = () => <b />;\n"})
    assert found.message == "it has no default export: export default the component"
    assert found.place.endswith("board/index.jsx")


def test_faults_of_styles_are_told_too(tmp_path: Path) -> None:
    found = problem_of(
        tmp_path,
        {"board/index.jsx": 'import "./a.css";\n' + PLAIN, "board/a.css": "b { color: \n a } {"},
    )
    assert found.message.startswith("in its CSS: ")
    assert found.frame


def test_what_cannot_be_inside_a_page_is_refused(tmp_path: Path) -> None:
    found = problem_of(
        tmp_path,
        {
            "board/index.jsx": 'import W from "./w.js?worker"; new W();\n' + PLAIN,
            "board/w.js": "postMessage(1);",
        },
    )
    assert "a page has to be one document" in found.message


def test_one_fault_leaves_the_other_faces_alone(tmp_path: Path) -> None:
    for name, code in {"bad": "export default (", "good": PLAIN}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.jsx").write_text(code)
    bad, good = require_builder().build(find_components(tmp_path))
    assert bad.problems
    assert bad.page is None
    assert good.problems == ()
    with pytest.raises(BadWidget, match="'bad' was not built"):
        bad.write()


def test_a_page_is_written_once_and_is_then_current(tmp_path: Path) -> None:
    outcome = build(tmp_path, {"board/index.jsx": PLAIN})
    assert not outcome.is_current
    assert outcome.write()
    assert outcome.is_current
    assert not outcome.write()
    assert [each.name for each in outcome.component.page.parent.iterdir()] == ["index.html"]
    outcome.component.page.write_text("edited")
    assert not outcome.is_current


def test_inputs_are_the_files_that_a_change_of_which_changes_the_page(tmp_path: Path) -> None:
    outcome = build(
        tmp_path,
        {
            "board/index.jsx": 'import { x } from "../shared/x.js"; export default () => <b>{x}</b>;',
            "board/notes.css": "",
            "shared/x.js": "export const x = 1;",
        },
    )
    ours = {each for each in outcome.inputs if each.is_relative_to(tmp_path)}
    assert ours == {
        tmp_path / "board" / "index.jsx",
        tmp_path / "board" / "notes.css",
        tmp_path / "shared" / "x.js",
    }


def test_nothing_to_build_needs_no_node() -> None:
    from backstay.widgets.build import Builder

    assert list(Builder().build([])) == []
