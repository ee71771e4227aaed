//! The trait a machine implements, and the loop over the commands of one entry.

use crate::{Command, Context, Error, Manifest, Outcome, Progress, Trigger, storage};

/// What a handler returns: an [`Error`] is a rejection, equal on every replica.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// A replicated state machine. Only [`Machine::apply`] must be written.
///
/// There is no `self`: the host makes a fresh instance for each log entry, so everything that
/// shall last goes through [`storage`].
pub trait Machine {
    /// Name of the module, for people.
    const NAME: &'static str;
    /// Version of the module, semver.
    const VERSION: &'static str = "0.0.0";
    /// Schema of what this code keeps in storage.
    const SCHEMA: u32 = 1;
    /// The oldest schema that [`Machine::migrate`] can start from.
    const MIGRATES_FROM: u32 = Self::SCHEMA;
    /// Description of commands and queries for tools; any text.
    const API: &'static str = "";
    /// Commands and queries on different keys do not see each other: see
    /// [`Machine::command_key`].
    const KEYED: bool = false;

    /// Runs once, in the entry that creates the machine.
    ///
    /// # Errors
    /// Refuses the configuration; the machine is then not created.
    fn init(_ctx: &Context, _config: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Looks at a command before it enters the log. Advisory, on a snapshot: [`Machine::apply`]
    /// must check again.
    ///
    /// # Errors
    /// Refuses the command; it is then not put in the log.
    fn check(_ctx: &Context, _command: &Command) -> Result<()> {
        Ok(())
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// A rejection. It undoes this command's writes, events, effects and wake time.
    fn apply(ctx: &Context, command: &Command) -> Result<Vec<u8>>;

    /// Carries out the commands of one entry. Written only by machines that share work between
    /// commands; it must give each command what [`Machine::apply`] alone would give it.
    fn apply_batch(ctx: &Context, commands: &[Command]) -> Vec<Outcome> {
        each(commands, |command| Self::apply(ctx, command))
    }

    /// Time has come, or an effect was carried out.
    ///
    /// # Errors
    /// A rejection. Natively and in the host it undoes the call's writes.
    fn react(_ctx: &Context, _what: &Trigger) -> Result<()> {
        Ok(())
    }

    /// Answers a question on a snapshot. A write here ends the call.
    ///
    /// # Errors
    /// A rejection.
    fn query(_ctx: &Context, _request: &[u8]) -> Result<Vec<u8>> {
        Err(Error::new(100, "this machine answers no queries"))
    }

    /// Brings the stored data from an older schema to [`Machine::SCHEMA`].
    ///
    /// # Errors
    /// The old module then stays in place.
    fn migrate(_ctx: &Context, _from_schema: u32, _step: u32) -> Result<Progress> {
        Ok(Progress::Done)
    }

    /// The key that a command touches; `None` = it may touch all. Asked by checkers when
    /// [`Machine::KEYED`]; uses nothing but the payload.
    fn command_key(_payload: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// [`Machine::command_key`] for a query.
    fn query_key(_request: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// What must hold after every entry; asked by checkers, read only.
    ///
    /// # Errors
    /// What is wrong with the state.
    fn invariant(_ctx: &Context) -> core::result::Result<(), String> {
        Ok(())
    }

    /// What the host is told about this module. Not meant to be overridden.
    fn manifest() -> Manifest {
        Manifest {
            name: Self::NAME.into(),
            version: Self::VERSION.into(),
            schema: Self::SCHEMA,
            migrates_from: Self::MIGRATES_FROM,
            api: Self::API.into(),
            keyed: Self::KEYED,
        }
    }
}

/// Runs `handle` for each command; what a rejected command did is undone before the next.
pub fn each(
    commands: &[Command],
    mut handle: impl FnMut(&Command) -> Result<Vec<u8>>,
) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(commands.len());
    for command in commands {
        let mark = storage::mark();
        let outcome = handle(command);
        match &outcome {
            Ok(_) => storage::release(mark),
            Err(_) => storage::rollback_to(mark),
        }
        outcomes.push(outcome);
    }
    outcomes
}
