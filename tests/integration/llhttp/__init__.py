# SPDX-License-Identifier: MIT
"""Our parsers beside llhttp: cases, verdicts, and the reasons for each difference."""
