"""Who differs from whom: pairs of methods, intervals, corrected tests, and what they let one say."""
