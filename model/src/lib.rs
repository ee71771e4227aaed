//! The shipped driver and store under a model checker.
