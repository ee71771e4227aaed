//! The shipped driver and store under a model checker.
//!
//! Every model is an entry of the [`catalogue`]: a name, the bounds of `cargo test`, a function
//! that checks it and one that serves stateright's Explorer. [`search`] runs any of them and makes
//! a [`report::Report`]; nothing here knows what a model is about.
//!
//! How the models fit together. [`driver`] runs the shipped replica over a log that is a value,
//! with crashes that lose what was not persisted. [`store`] runs the shipped store on a disk that
//! is a value, and shows that it keeps to such a log: after any crash there is all of an operation
//! or nothing of it, all of it when it was acknowledged. [`machine`] runs modules in the shipped
//! host. So what holds of the replica over the modelled log holds over the real one, as far as the
//! bounds go; the seams between them (threads, queues, sockets) are what `chaos` runs. Each module
//! says what it abstracts and why that is sound, or where it is a bound.
//!
//! What a run means. Breadth first, with one thread, every state within the bounds is looked at and
//! an example is as short as can be. A run says why it ended: *complete* and *complete to this
//! depth* have seen everything there; *time was over* has not, and says how many states it saw. A
//! property that should hold sometimes and never did fails the run, for a bound that reaches
//! nothing proves nothing. States are told apart by 64 bits of a hash, so of ten million states one
//! is passed over by accident with a probability of 3 in a million.
//!
//! Not here: turmoil, sockets, threads of a node. Those belong to `chaos`.
#![warn(missing_docs)]

pub mod bounds;
pub mod catalogue;
pub mod driver;
pub mod machine;
pub mod recording;
pub mod report;
pub mod search;
pub mod store;
