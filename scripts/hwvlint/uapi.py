# SPDX-License-Identifier: GPL-2.0-only
"""include/uapi/ by itself: compiles alone in both languages, 32 and 64 bit, and means the same everywhere."""
import re
import subprocess

WARN = ["-Wall", "-Wextra", "-Wpadded", "-Werror"]
HOST = {
    "C11": ["gcc-12", "-xc", "-std=c11"],
    "C++20": ["g++-12", "-xc++", "-std=c++20"],
    "C11, 32 bit": ["gcc-12", "-xc", "-std=c11", "-m32"],
    "C++20, 32 bit": ["g++-12", "-xc++", "-std=c++20", "-m32"],
}


def headers(root):
    return sorted((root / "include/uapi").glob("*.h"))


def shim_flags(root):
    """Freestanding C++ as the module's: uapi headers see kmod/cxx-shim in place of Linux's headers."""
    return ["g++-12", "-xc++", "-std=gnu++20", "-ffreestanding", "-nostdinc", f"-I{root}/kmod/cxx-shim"]


def alone(root, tmp):
    for name, compiler in {**HOST, "C++20 with the shim": shim_flags(root)}.items():
        for header in headers(root):
            probe = tmp / "alone.c"
            # An empty declaration keeps ISO C from complaining about an empty unit.
            probe.write_text(f'#include "{header.name}"\nextern int hwv_alone;\n')
            command = [*compiler, *WARN, f"-I{header.parent}", "-fsyntax-only", probe]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                yield header, 1, f"as {name}: " + first_error(run.stderr)


def first_error(text):
    m = re.search(r"^.*?(?:error: )(.*)$", text, re.M)
    return m.group(1) if m else text.strip().splitlines()[0]


def structures(header):
    return re.findall(r"^struct (\w+) \{", header.read_text(), re.M)


def sizes(compiler, header, tmp):
    """{structure: size}, read from the symbol table of an object with one array per structure."""
    probe, out = tmp / "layout.c", tmp / "layout.o"
    arrays = "".join(f"char size_{s}[sizeof(struct {s})] = {{1}};\n" for s in structures(header))
    probe.write_text(f'#include "{header.name}"\n{arrays}')
    subprocess.run([*compiler, f"-I{header.parent}", "-c", "-o", out, probe], check=True, capture_output=True)
    table = subprocess.run(["nm", "-S", out], check=True, capture_output=True, text=True).stdout
    return {m.group(2): int(m.group(1), 16) for m in re.finditer(r"^\S+ (\S+) \w size_(\w+)$", table, re.M)}


def layout(root, tmp):
    """A structure has one size for every caller. (-Wpadded above: and no hole, so its fields have one place.)"""
    for header in headers(root):
        if not structures(header):
            continue
        found = {name: sizes(compiler, header, tmp) for name, compiler in HOST.items()}
        found["shim"] = sizes(shim_flags(root), header, tmp)
        for structure in structures(header):
            if len({s[structure] for s in found.values()}) != 1:
                all_sizes = ", ".join(f"{name}: {s[structure]}" for name, s in found.items())
                yield header, 1, f"struct {structure} differs: {all_sizes}"
