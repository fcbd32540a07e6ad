"""Step 4: metrics with intervals, baselines, paired comparisons, scorecards."""
