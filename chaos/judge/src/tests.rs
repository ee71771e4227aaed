//! The judge against planted defects: each checker has histories that it must refuse, and one that
//! it must let pass.

mod canaries;
mod corpus;
mod lists;
mod metamorphic;
mod resolving;
mod shrinking;
mod store;
mod story;
mod times;
