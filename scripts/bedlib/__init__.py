# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/bed and scripts/fetch-kernel are made of."""
