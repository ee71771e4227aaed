//! The SQL functions, with the names and types of the predecessor (UPSTREAM.md).
//!
//! true means success, everything else is an error with an SQLSTATE. The statements that create
//! them are in sql/pgraft--1.0.sql, ordered by hand; `pgraft-schema check` compares the two.

mod call;
mod kv;
mod machines;
mod membership;
mod status;
