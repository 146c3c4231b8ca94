//! Tests of the planner and the executor.
