//! What a command comes to: a reply, or a rejection that is equal on every replica.

/// The outcome of a command: part of the replicated state, equal on every replica.
pub type Outcome = Result<Vec<u8>, Rejection>;

/// The state machine's own "no", or the host's on its behalf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// 1 to 99: [`HostCode`]. From 100 on the machine's own.
    pub code: u32,
    /// For people.
    pub message: String,
}

impl Rejection {
    /// A rejection of the host. Its text is replicated: it depends on nothing of this machine.
    pub fn host(code: HostCode) -> Rejection {
        Rejection { code: code as u32, message: code.text().to_owned() }
    }

    /// The same with other words. They are replicated: they depend on nothing of this machine.
    pub fn says(code: HostCode, message: impl Into<String>) -> Rejection {
        Rejection { code: code as u32, message: message.into() }
    }

    /// Which of the host's reasons it is; `None` for a machine's own.
    pub fn host_code(&self) -> Option<HostCode> {
        HostCode::ALL.iter().copied().find(|code| *code as u32 == self.code)
    }
}

/// Why the host rejects a command or ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HostCode {
    /// The module panicked, divided by zero, read outside its memory, and so on.
    Trap = 1,
    /// It did not end within its fuel.
    OutOfFuel = 2,
    /// It asked for more memory or table than it may have.
    OutOfMemory = 3,
    /// It recursed too deep, counted the same way everywhere (depth.rs of pgraft-engine).
    StackOverflow = 4,
    /// A query tried to change something.
    ReadOnly = 5,
    /// A key, value, page, event, effect, reply, or a sum of them is too large.
    Quota = 6,
    /// The module broke a rule of the interface.
    BadInterface = 7,
    /// The machine is between two schemas.
    Migrating = 8,
    /// There is no machine of that name.
    UnknownMachine = 10,
    /// The session is unknown, or the reply of the repeated command was acknowledged.
    SessionExpired = 11,
    /// The bytes in the log are not a command.
    MalformedCommand = 12,
    /// The configuration change does not apply to the configuration.
    ConfRefused = 13,
    /// The module's bytes are not there (completely).
    ModuleMissing = 14,
    /// The module cannot be run, or says impossible things about itself.
    BadModule = 15,
    /// What a change of the machines expects is not so (any more).
    Conflict = 16,
    /// The machine used up its share of the applying thread.
    Throttled = 17,
}

impl HostCode {
    const ALL: [HostCode; 16] = [
        HostCode::Trap,
        HostCode::OutOfFuel,
        HostCode::OutOfMemory,
        HostCode::StackOverflow,
        HostCode::ReadOnly,
        HostCode::Quota,
        HostCode::BadInterface,
        HostCode::Migrating,
        HostCode::UnknownMachine,
        HostCode::SessionExpired,
        HostCode::MalformedCommand,
        HostCode::ConfRefused,
        HostCode::ModuleMissing,
        HostCode::BadModule,
        HostCode::Conflict,
        HostCode::Throttled,
    ];

    fn text(self) -> &'static str {
        match self {
            HostCode::Trap => "the module trapped",
            HostCode::OutOfFuel => "the module ran out of fuel",
            HostCode::OutOfMemory => "the module asked for more memory than it may have",
            HostCode::StackOverflow => "the module recursed too deep",
            HostCode::ReadOnly => "a query may not change anything",
            HostCode::Quota => "the module exceeded a limit of the host",
            HostCode::BadInterface => "the module broke a rule of its interface",
            HostCode::Migrating => "the machine is being migrated",
            HostCode::UnknownMachine => "there is no machine of that name",
            HostCode::SessionExpired => "the session expired",
            HostCode::MalformedCommand => "the command is malformed",
            HostCode::ConfRefused => "the configuration change does not apply",
            HostCode::ModuleMissing => "the bytes of the module are not all there",
            HostCode::BadModule => "the module cannot be run",
            HostCode::Conflict => "what the change expects is not so",
            HostCode::Throttled => "the machine used up its share of the applying thread",
        }
    }
}
