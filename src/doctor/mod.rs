//! What is wrong with a run, told from its data and a few iterations; a verdict in words.
