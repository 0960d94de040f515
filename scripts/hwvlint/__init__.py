# SPDX-License-Identifier: GPL-2.0-only
"""The checks of scripts/lint. A check is a generator of (path, line, what is wrong)."""
