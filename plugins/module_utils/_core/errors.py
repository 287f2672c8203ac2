# Copyright (c) devicemapper.containers contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: may change or vanish in any release. Do not import it from elsewhere.

"""Wishes that are not carried out: one refusal, or several at once."""

from __future__ import annotations

import typing as t


class RefusedError(Exception):
    """A wish that is not carried out.

    The message names the object, says what is wrong with it and which option or command helps.
    """


class RefusedErrors(RefusedError):
    """Several refusals at once, so that a person mends them all before the next run."""

    def __init__(self, reasons: t.Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(self.reasons))
