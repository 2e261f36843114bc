# SPDX-License-Identifier: MIT
"""Every fault we know, under live traffic, held against what is promised (`make faults`)."""
