# SPDX-License-Identifier: GPL-2.0-only
"""Who may include what: the walls between the rooms."""
import re

from hwvlint import sources

INCLUDE = re.compile(r'^\s*#\s*include(?:_next)?\s*([<"])([^>"]+)[>"]')

# What libstdc++ 12 to 16 offers without a libc under it.
FREESTANDING = set(
    "cstdint cstddef limits type_traits concepts compare initializer_list new version utility bit array span optional variant "
    "tuple atomic numeric cstdarg source_location".split()
)
VOCABULARY = {f"core/{name}.hpp" for name in ("exit", "outcome", "guest_state", "result", "traps")}
# For each room of C++ in kmod/: rooms and headers it may include besides itself, leaf headers and the standard library.
KMOD = {
    "npt": (),
    "cpu": ("uapi", "host.h", *VOCABULARY),
    "instrument": ("uapi", "host.h", *VOCABULARY),
    "core": ("uapi", "host.h", "core.h", "gen", "npt", "cpu", "instrument"),
    "svm": ("uapi", "host.h", "core.h", "gen", "core", "cpu", "npt"),
    "vmx": ("uapi", "host.h", "core.h", "gen", "core", "cpu", "npt"),
}
# The one file that knows both vendors.
SELECTION = "vendor.cpp"
KMOD[SELECTION] = ("uapi", "host.h", "core", "svm", "vmx")
USER_ROOMS = {"hwv", "hwvctl", "records", "machine", "boot", "assist"}


def of(path):
    """(line, "<" or '"', name) of every #include."""
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        m = INCLUDE.match(line)
        if m:
            yield number, m.group(1), m.group(2)


def leaves(root):
    """Headers of kmod's rooms that include nothing but the freestanding standard library."""
    kmod = root / "kmod"
    headers = [p for room in KMOD if room != SELECTION for p in (kmod / room).glob("**/*.hpp")]
    return {str(p.relative_to(kmod)) for p in headers if all(k == "<" and n in FREESTANDING for _, k, n in of(p))}


def uapi_names(root):
    return {p.name for p in (root / "include/uapi").glob("*.h")}


def check(root):
    for path in sources.code(root):
        room = path.relative_to(root).parts[:2]
        if room[0] == "include":
            yield from check_uapi(root, path)
        elif room == ("kmod", SELECTION):
            yield from check_core(root, path, SELECTION)
        elif room == ("kmod", "linux"):
            yield from check_linux(root, path)
        elif room[0] == "kmod" and room[1] in KMOD:
            yield from (check_assembly if path.suffix == ".S" else check_core)(root, path, room[1])
        elif room[0] == "userspace":
            yield from check_userspace(root, path)


def check_uapi(root, path):
    for number, kind, name in of(path):
        if name not in ({"linux/types.h", "linux/ioctl.h"} if kind == "<" else uapi_names(root)):
            yield path, number, f"uapi may include <linux/types.h>, <linux/ioctl.h> and its own headers, not {name}"


def check_linux(root, path):
    own = {p.name for p in (root / "kmod/linux").glob("*.h")} | {"core.h", "host.h"} | uapi_names(root)
    for number, kind, name in of(path):
        if name.endswith(".hpp"):
            yield path, number, f"kmod/linux may not include C++: {name}"
        elif kind == '"' and name not in own and not name.startswith("gen/"):
            yield path, number, f"kmod/linux may include Linux, core.h, host.h, uapi and its own headers, not {name}"


def check_assembly(root, path, room):
    for number, kind, name in of(path):
        if not re.match(r"(linux/linkage\.h|asm/)" if kind == "<" else rf"({room}|gen)/|hwv\w*\.h$|speculation\.h$", name):
            yield path, number, f"assembly may include <linux/linkage.h>, <asm/...>, speculation.h, its own room and gen/, not {name}"


def check_core(root, path, room):
    allowed, leaf = KMOD[room], leaves(root)
    for number, kind, name in of(path):
        if kind == "<":
            if name not in FREESTANDING:
                yield path, number, f"not a freestanding standard header: <{name}>"
            continue
        origin = "uapi" if name in uapi_names(root) else name.split("/")[0]
        if origin == room or origin in allowed or name in allowed or name in leaf:
            continue
        yield path, number, f"kmod/{room} may not include {name}"


def check_userspace(root, path):
    for number, kind, name in of(path):
        if kind != '"':
            continue
        known = name in uapi_names(root) or name.split("/")[0] in USER_ROOMS or (path.parent / name).exists()
        if not known or "kmod" in name:
            yield path, number, f"userspace may include uapi, its own rooms and libraries, not {name}"
    if not path.is_relative_to(root / "userspace/hwv"):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if re.search(r"\bioctl\s*\([^;]*\bHWV_", line):
                yield path, number, "only userspace/hwv calls hwv's ioctls"
