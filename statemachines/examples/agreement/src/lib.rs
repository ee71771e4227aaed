//! Nothing: the tests of this crate compare the examples with each other and with themselves.
