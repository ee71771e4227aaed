//! The judge against other judges, against itself, and against known anomalies.

mod agreement;
mod cluster;
mod histories;
mod register;
