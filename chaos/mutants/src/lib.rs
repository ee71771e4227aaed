//! Planted bugs: proof that the verifiers see. Each bug is a file in `bugs/` that says what a user
//! would lose, how to patch the sources, and which command must find it.
//!
//! The shipped sources hold nothing of this. The runner copies the tree, plants all bugs at once,
//! each behind a question about the environment, builds once, and runs every finder twice: without
//! the bug it must pass, with the bug it must fail, in the words of the checker that is meant.
//! Not here: the verifiers.

#![warn(missing_docs)]

pub mod bug;
pub mod planting;
pub mod record;
pub mod trial;
pub mod workspace;
