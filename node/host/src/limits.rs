//! The limits of the host, each with its unit, related at compile time.
//!
//! Most of them decide outcomes: a command that is rejected here must be rejected everywhere. Those
//! of [`Limits`] are stored with the machine, so a newer program does not change them. The others
//! are part of the interface: changing one changes what machines compute, like a new version of
//! the engine does (WASM.md 5, mixed versions), and must not happen within a running cluster.

/// Keyspace of the host itself in state.db.
pub(crate) const HOST: u32 = 0;

/// What a machine may use; part of its registration, so that a newer program does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fuel for one command; about 10 a nanosecond (WASM.md 4.3), so 50 ms.
    pub command_fuel: u64,
    /// Fuel for all commands of an entry together, before they are run one by one.
    pub entry_fuel: u64,
    /// Linear memory.
    pub memory_bytes: u64,
    /// Key of a row.
    pub key_bytes: u64,
    /// Value of a row.
    pub value_bytes: u64,
    /// Keys and values written in one call.
    pub written_bytes: u64,
    /// Keys and values of all rows together.
    pub total_bytes: u64,
    /// Fuel per second of the log's time: the machine's share of the applying thread, whose whole
    /// is about 10^10. `u64::MAX` = no limit.
    pub share_fuel: u64,
    /// Events kept for those who come late.
    pub events_kept: u64,
}

impl Limits {
    /// What the built-in machines get from this version of the program.
    pub const DEFAULT: Limits = Limits {
        command_fuel: 500_000_000,
        entry_fuel: 1_000_000_000,
        memory_bytes: 64 << 20,
        key_bytes: 2 << 10,
        value_bytes: 2 << 20,
        written_bytes: 16 << 20,
        total_bytes: 64 << 30,
        share_fuel: u64::MAX,
        events_kept: 0,
    };

    /// What an installed machine gets unless it is given others: a quarter of the applying thread,
    /// so that one that runs wild leaves the others their time.
    pub const INSTALLED: Limits =
        Limits { share_fuel: 2_500_000_000, events_kept: 1_024, ..Limits::DEFAULT };

    /// What nobody may be given more of.
    const CEILING: Limits = Limits {
        command_fuel: 20_000_000_000,
        entry_fuel: 20_000_000_000,
        memory_bytes: pgraft_engine::MEMORY_BYTES_MAX as u64,
        key_bytes: 2 << 10,
        value_bytes: 2 << 20,
        written_bytes: 64 << 20,
        total_bytes: pgraft_store::limits::SNAPSHOT_BYTES_MAX,
        share_fuel: u64::MAX,
        events_kept: 1_000_000,
    };

    /// A limit by its name.
    pub fn of(&mut self, name: LimitName) -> &mut u64 {
        match name {
            LimitName::CommandFuel => &mut self.command_fuel,
            LimitName::EntryFuel => &mut self.entry_fuel,
            LimitName::MemoryBytes => &mut self.memory_bytes,
            LimitName::KeyBytes => &mut self.key_bytes,
            LimitName::ValueBytes => &mut self.value_bytes,
            LimitName::WrittenBytes => &mut self.written_bytes,
            LimitName::TotalBytes => &mut self.total_bytes,
            LimitName::ShareFuel => &mut self.share_fuel,
            LimitName::EventsKept => &mut self.events_kept,
        }
    }

    /// These limits with `changes`.
    ///
    /// # Errors
    /// When one is beyond what any machine may have, in words.
    pub fn with(mut self, changes: &[(LimitName, u64)]) -> Result<Limits, String> {
        let mut ceiling = Limits::CEILING;
        for (name, value) in changes {
            let most = *ceiling.of(*name);
            if *value > most {
                return Err(format!("{} is {value}, at most {most} is allowed", name.as_str()));
            }
            *self.of(*name) = *value;
        }
        self.entry_fuel = self.entry_fuel.max(self.command_fuel);
        Ok(self)
    }
}

/// The limits, by number and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "the fields of Limits, one by one")]
pub enum LimitName {
    CommandFuel = 1,
    EntryFuel = 2,
    MemoryBytes = 3,
    KeyBytes = 4,
    ValueBytes = 5,
    WrittenBytes = 6,
    TotalBytes = 7,
    ShareFuel = 8,
    EventsKept = 9,
}

impl LimitName {
    /// All, in the order in which they are stored.
    pub const ALL: [LimitName; 9] = [
        LimitName::CommandFuel,
        LimitName::EntryFuel,
        LimitName::MemoryBytes,
        LimitName::KeyBytes,
        LimitName::ValueBytes,
        LimitName::WrittenBytes,
        LimitName::TotalBytes,
        LimitName::ShareFuel,
        LimitName::EventsKept,
    ];

    /// Its name in SQL, settings and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitName::CommandFuel => "command_fuel",
            LimitName::EntryFuel => "entry_fuel",
            LimitName::MemoryBytes => "memory_bytes",
            LimitName::KeyBytes => "key_bytes",
            LimitName::ValueBytes => "value_bytes",
            LimitName::WrittenBytes => "written_bytes",
            LimitName::TotalBytes => "total_bytes",
            LimitName::ShareFuel => "share_fuel",
            LimitName::EventsKept => "events_kept",
        }
    }

    /// The limit of that name.
    pub fn parse(name: &str) -> Option<LimitName> {
        LimitName::ALL.into_iter().find(|limit| limit.as_str() == name)
    }
}

/// Seconds of its share that a machine may save up.
pub const SHARE_BURST_S: u64 = 2;
/// Fuel of one step of a migration, in commands' fuel.
pub const MIGRATION_COMMANDS: u64 = 100;

/// Bytes of a module.
pub const MODULE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one part of a module in the log.
pub const STAGE_BYTES_MAX: usize = 256 << 10;
/// Bytes of modules that are staged and that no machine runs, or ran before.
pub const STAGED_BYTES_MAX: u64 = 64 << 20;
/// Milliseconds of log time after which a staged module that nobody runs is forgotten.
pub const STAGED_MS_MAX: u64 = 3_600_000;
/// Description of its commands and queries that a module may give.
pub const API_BYTES_MAX: usize = 64 << 10;
/// First configuration of a machine.
pub const CONFIG_BYTES_MAX: usize = 1 << 20;

/// Fuel of a query. It runs beside the write path, and a range may be long.
pub const QUERY_FUEL: u64 = 2_000_000_000;
/// Fuel for instantiation. Not counted against a limit: what it uses depends on the allocator
/// (WASM.md 4.2). But for that it is the same each time, and was bounded when the module was
/// loaded.
pub const INSTANTIATION_FUEL: u64 = u64::MAX;
/// Fuel that instantiation may use when a module is loaded: 5 ms or so that every entry then takes.
/// Those of QuickJS use 2 million.
pub const START_FUEL: u64 = 50_000_000;
/// Fuel of a call to the host that reads, besides one per byte. Below its time (WASM.md 3: 1.6 to
/// 2.3 us), so that a command may touch tens of thousands of rows: a tenth of a second.
pub const READ_FUEL: u64 = 2_000;
/// Fuel of a call to the host that writes, besides one per byte.
pub const WRITE_FUEL: u64 = 4_000;
/// Fuel per row of a scan or count.
pub const ROW_FUEL: u64 = 200;
/// Fuel of a call to the host that touches no row.
pub const HOST_CALL_FUEL: u64 = 500;

/// Bytes a guest may hand to the host in one call or reply.
pub const HOSTCALL_BYTES_MAX: usize = 16 << 20;
/// Bytes of one page of a scan.
pub const PAGE_BYTES_MAX: u32 = 4 << 20;
/// Rows of one page of a scan.
pub const PAGE_ROWS_MAX: u32 = 65_536;
/// Keys of one `get-many`.
pub const GET_MANY_KEYS_MAX: usize = 4_096;
/// Bytes of all values of one `get-many`.
pub const GET_MANY_BYTES_MAX: usize = 16 << 20;
/// Marks open at once in one call; the store has a few savepoints more.
pub const MARKS_MAX: usize = 32;
/// Reply of a command or answer of a query.
pub const REPLY_BYTES_MAX: usize = 4 << 20;
/// Message of a rejection; longer ones are cut.
pub const MESSAGE_BYTES_MAX: usize = 1 << 10;
/// Events of one call.
pub const EVENTS_MAX: usize = 16_384;
/// Topics and payloads of the events of one call.
pub const EVENTS_BYTES_MAX: usize = 16 << 20;
/// Effects requested in one call.
pub const CALL_EFFECTS_MAX: usize = 64;
/// Effects of one machine that wait to be performed.
pub const OUTBOX_EFFECTS_MAX: usize = 1_024;
/// Name of an effect's kind.
pub const EFFECT_KIND_BYTES_MAX: usize = 64;
/// Payload of an effect.
pub const EFFECT_BYTES_MAX: usize = 64 << 10;
/// Log lines of one call; further ones are dropped.
pub const LOG_LINES_MAX: u32 = 64;
/// Bytes of one log line; longer ones are cut.
pub const LOG_LINE_BYTES_MAX: usize = 1 << 10;

/// Name of a machine.
pub const NAME_BYTES_MAX: usize = 64;
/// Name of the caller of a command.
pub const PRINCIPAL_BYTES_MAX: usize = 256;
/// Machines of one cluster.
pub const MACHINES_MAX: usize = 256;

/// Open sessions; the least recently used one expires when there would be more.
pub const SESSIONS_MAX: usize = 4_096;
/// Milliseconds of log time without a command after which a session expires.
pub const SESSION_IDLE_MS_MAX: u64 = 3_600_000;
/// Replies that one session waits to have acknowledged.
pub const SESSION_REPLIES_MAX: usize = 4_096;
/// Bytes of remembered replies at which a session takes no further command.
pub const SESSION_BYTES_MAX: usize = 2 << 20;
/// Bytes of remembered replies of all sessions; beyond it the least recently used expire.
pub const SESSIONS_BYTES_MAX: usize = 16 << 20;

/// Digests are remembered at every index that is a multiple of this.
pub const DIGEST_STEP_ENTRIES: u64 = 64;
/// How many of them.
pub const DIGESTS_KEPT: u64 = 64;

const _: () = {
    let limits = Limits::DEFAULT;
    let ceiling = Limits::CEILING;
    assert!(ceiling.key_bytes as usize <= pgraft_store::limits::KEY_BYTES_MAX);
    assert!(ceiling.value_bytes as usize <= pgraft_store::limits::VALUE_BYTES_MAX);
    assert!(ceiling.value_bytes + ceiling.key_bytes < HOSTCALL_BYTES_MAX as u64);
    assert!(STAGE_BYTES_MAX + 1024 < pgraft_replica::limits::COMMAND_BYTES_MAX);
    assert!(CONFIG_BYTES_MAX + 4096 < pgraft_replica::limits::COMMAND_BYTES_MAX);
    assert!(STAGE_BYTES_MAX <= pgraft_store::limits::VALUE_BYTES_MAX);
    assert!(limits.key_bytes as usize <= pgraft_store::limits::KEY_BYTES_MAX);
    assert!(limits.value_bytes as usize <= pgraft_store::limits::VALUE_BYTES_MAX);
    assert!(limits.memory_bytes as usize <= pgraft_engine::MEMORY_BYTES_MAX);
    assert!(limits.value_bytes + limits.key_bytes < HOSTCALL_BYTES_MAX as u64);
    assert!(limits.command_fuel <= limits.entry_fuel);
    // One savepoint for the transaction, one for the call.
    assert!(MARKS_MAX + 2 <= pgraft_store::limits::SAVEPOINTS_MAX);
    // A session's row holds its replies: those before the limit, and one that crosses it.
    assert!(
        SESSION_BYTES_MAX + REPLY_BYTES_MAX + 64 * SESSION_REPLIES_MAX
            < pgraft_store::limits::VALUE_BYTES_MAX
    );
    assert!(SESSION_BYTES_MAX + REPLY_BYTES_MAX <= SESSIONS_BYTES_MAX);
};
