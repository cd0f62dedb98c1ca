"""Every reason code (broker/base/error.h) is provoked by a test: expected as an outcome, not merely mentioned.

In C++ that is `Code::x` or "x" within EXPECT_…, ASSERT_… or expect_…( ), or the last of a table's row; in Python "x" within an assert,
in a test's parameters, or as the code that a kind of attack must be refused with (tests/e2e/hostile_broker_test.py).
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXPECTING = {"kind": 1, "kinds": 1, "parametrize": None}  # functions whose arguments are outcomes: so many of the first


def codes():
    header = (ROOT / "broker/base/error.h").read_text()
    body = re.search(r"enum class Code \{(.*?)\};", header, re.DOTALL).group(1)
    return re.findall(r"\w+", re.sub(r"//.*", "", body))


def expected_in_cpp(text):
    """Words of all expectations, up to their closing parenthesis; and of rows {case, Code::x}, which a loop expects."""
    words = set(re.findall(r"(?<!Error)\{[^{}();]*, Code::(\w+)\}", text))
    for match in re.finditer(r"\b(?:EXPECT_|ASSERT_|expect_)\w+\(", text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            literal = re.compile(r'"(?:\\.|[^"\\])*"').match(text, end)  # its parentheses do not count
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end = literal.end() if literal else end + 1
        inside = text[match.end() : end]
        words |= set(re.findall(r"Code::(\w+)", inside)) | set(re.findall(r'"(\w+)"', inside))
    return words


def strings(node):
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def expected_in_python(text):
    words = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert):
            words |= strings(node)
        elif isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in EXPECTING:
                words |= set().union(*map(strings, node.args[: EXPECTING[name]]))
    return words


def provoked():
    words = set()
    for path in (ROOT / "tests").rglob("*"):
        if path.suffix in (".cc", ".h"):
            words |= expected_in_cpp(path.read_text())
        elif path.name.endswith("_test.py") and path != Path(__file__):
            words |= expected_in_python(path.read_text())
    return words


def test_every_reason_is_provoked():
    assert sorted(set(codes()) - provoked()) == []


def test_this_test_can_fail():
    assert len(codes()) > 60 and "invented_code" not in provoked()
    assert expected_in_cpp("EXPECT_EQ(f(Code::a), g()); // Code::b\n auto c = Code::c;") == {"a"}
    assert expected_in_cpp('fail(Code::a); EXPECT_EQ(code_of(x, f(")")), "b") << "c d";') == {"b"}
    assert expected_in_cpp('rows = {{"y", Code::a}}; Error{b, Code::b}; Error{Code::c, {}}; fail(Code::d)') == {"a"}
    assert expected_in_python('x = "a"\nassert y == "b"\nz("c")\n@kind("d")\ndef f(b): return "e"') == {"b", "d"}
