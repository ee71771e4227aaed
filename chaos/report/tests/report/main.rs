//! Tests of the page: its text and its data, and how it looks in a browser.

mod picture;
mod sample;
mod structure;
