"""Figures as files: lines, tables, comparisons, heat maps. The users of matplotlib."""
