"""The formats of "Where's Whale-do?" and Happywhale: scenarios, submissions, blending, the code-execution archive."""
