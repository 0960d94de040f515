# SPDX-License-Identifier: GPL-2.0-only
"""The files of the tree, their kinds and sizes."""
import os
import re

CODE = {".c", ".cpp", ".h", ".hpp", ".S"}
SCRIPTS = {".py", ".sh", ".mk", ".lds"}
ROOMS = ("kmod", "include", "userspace", "tests", "scripts")
COUNTED = ("svm", "vmx", "instrument", "npt")
BUDGET = 12000


def all_files(root):
    for base, folders, names in os.walk(root):
        folders[:] = sorted(d for d in folders if d not in (".git", "build", "__pycache__"))
        for name in sorted(names):
            path = type(root)(base) / name
            if path.is_file() and not name.endswith((".swp", "~", ".pyc")):
                yield path


def code(root):
    for room in ROOMS:
        if (root / room).is_dir():
            yield from (p for p in all_files(root / room) if p.suffix in CODE)


def wants_spdx(path):
    return path.suffix in CODE | SCRIPTS or path.name in ("Makefile", "Kbuild") or is_shell(path) or is_python(path)


def interpreter(path):
    with open(path, "rb") as f:
        line = f.readline(80)
    return line.decode(errors="replace") if line.startswith(b"#!") else ""


def is_shell(path):
    return bool(re.search(r"\b(ba)?sh\b", interpreter(path)))


def is_python(path):
    return "python" in interpreter(path)


def blank_comments(text):
    """Comments and the insides of string and character literals become blanks; lines stay where they are."""

    def blank(m):
        s = m.group(0)
        if s[0] in "\"'":
            return s[0] + " " * (len(s) - 2) + s[-1]
        return re.sub(r"[^\n]", " ", s)

    literal = r'"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\''
    return re.sub(rf"//[^\n]*|/\*.*?\*/|{literal}", blank, text, flags=re.S)


def sloc(path):
    text = path.read_text(errors="replace")
    if path.suffix in CODE:
        text = blank_comments(text)
        return sum(1 for line in text.splitlines() if line.strip())
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def functions(text):
    """(name, first line, lines) of every function body outside of another one. A heuristic that knows our formats."""
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), blank_comments(text), flags=re.M)
    depth, start, inside = 0, 0, None
    for m in re.finditer(r"[{};]", text):
        if m.group(0) == "{":
            head = text[start : m.start()]
            call = re.search(r"([\w:~]+|operator\s*\S+)\s*\(", head)
            control = re.match(r"\s*(?:\}\s*)?(?:if|for|while|switch|do|else|namespace|enum|extern|struct|class|union)\b", head)
            if inside is None and call and not control and "=" not in head.split("(")[0]:
                inside = (call.group(1), text.count("\n", 0, start + len(head) - len(head.lstrip())) + 1, depth)
            depth += 1
        elif m.group(0) == "}":
            depth -= 1
            if inside and depth == inside[2]:
                yield inside[0], inside[1], text.count("\n", 0, m.start()) + 2 - inside[1]
                inside = None
        start = m.end()


def counts(root):
    """{room: sloc} of code, kmod by its own rooms."""
    found = {}
    for path in code(root):
        parts = path.relative_to(root).parts
        room = "/".join(parts[:2]) if parts[0] in ("kmod", "userspace", "tests") and len(parts) > 2 else parts[0]
        found[room] = found.get(room, 0) + sloc(path)
    return found


def thin(found):
    return sum(found.get(f"kmod/{room}", 0) for room in COUNTED)


def over_budget(root):
    lines = thin(counts(root))
    if lines > BUDGET:
        yield root / "kmod", 1, f"{' '.join(COUNTED)}: {lines} lines of code, at most {BUDGET}"


def host_flags(root, path):
    """How a C++ source compiles on the host, for clang-tidy."""
    include = [f"-I{root}/include/uapi", f"-iquote{root}/tests/unit", f"-iquote{root}/tests", f"-iquote{root}/tests/unit/fakes"]
    user = path.is_relative_to(root / "userspace") or '#include "gtest' in path.read_text()
    return ["-std=gnu++20", *include, f"-iquote{root}/kmod", f"-I{root}/userspace"] + ([] if user else ["-funsigned-char"])
