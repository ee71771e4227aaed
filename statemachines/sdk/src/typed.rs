//! The layer most machines are written in: commands, replies and rows as types of their own.
//!
//! A type that implements [`Machine`] here also is a [`crate::Machine`], so [`crate::export!`]
//! makes a module of it, and what a client sends is read and answered by it in two forms
//! ([`Form`]). [`Table`] and [`Item`] keep values under typed keys. Not here: the machine of bytes
//! ([`crate::Machine`]), which the built-in machines use because they have codecs of their own.
//!
//! ```
//! use pgraft_sdk::typed::{Caller, Context, Error, Machine, Table};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! #[serde(rename_all = "snake_case")]
//! pub enum Command {
//!     Add(String),
//! }
//!
//! const COUNTS: Table<String, u64> = Table::new(1);
//!
//! pub struct Counter;
//!
//! impl Machine for Counter {
//!     const NAME: &'static str = "counter";
//!     type Config = ();
//!     type Command = Command;
//!     type Reply = u64;
//!     type Query = String;
//!     type Answer = u64;
//!     type Error = Error;
//!
//!     fn apply(_ctx: &Context, _caller: &Caller, command: Command) -> Result<u64, Error> {
//!         let Command::Add(name) = command;
//!         let count = COUNTS.get(&name).unwrap_or(0) + 1;
//!         COUNTS.put(&name, &count);
//!         Ok(count)
//!     }
//!
//!     fn query(_ctx: &Context, name: String) -> Result<u64, Error> {
//!         Ok(COUNTS.get(&name).unwrap_or(0))
//!     }
//! }
//!
//! # fn main() {
//! let mut sandbox = pgraft_sdk::native::Sandbox::<Counter>::new(()).unwrap();
//! assert_eq!(sandbox.apply(Command::Add("apples".into())), Ok(1));
//! assert_eq!(sandbox.call(r#"{"add":"apples"}"#).unwrap(), "2");
//! # }
//! ```

mod form;
mod key;
mod machine;
mod messages;
mod random;
mod table;

pub use crate::{Caller, Context, Error, Outcome, Progress};
pub use form::{Form, MALFORMED, Malformed};
pub use key::{Key, KeyOf};
pub use machine::{Machine, Rejection};
pub use messages::{emit, request, told, wake_at};
pub use random::Random;
pub use table::{Entries, Item, Keys, Table};
