//! Errors as SQL shows them: SQLSTATE, message, detail, hint.
//!
//! In PostgreSQL's style: the message in lower case without a full stop, detail and hint as
//! sentences. Three classes matter to a program, and are told apart by SQLSTATE: 57P03 was not
//! carried out and may be repeated, 40003 may or may not have been carried out, anything else is
//! refused and will be refused again.
//! Every match is exhaustive or names its rest, so that a new failure needs a decision here.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use pgraft_host::{HostCode, Rejection};
use pgraft_node::rpc::{Failure, FailureKind};

/// An error that waits to be raised.
pub(crate) struct Report {
    code: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Report {
    pub(crate) fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Report {
        Report { code, message: message.into(), detail: None, hint: None }
    }

    pub(crate) fn detail(self, detail: impl Into<String>) -> Report {
        Report { detail: Some(detail.into()), ..self }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Report {
        Report { hint: Some(hint.into()), ..self }
    }

    /// Ends the statement with this error.
    pub(crate) fn raise(self) -> ! {
        self.log(PgLogLevel::ERROR);
        unreachable!("an error does not return")
    }

    /// Writes it with any level; ERROR and FATAL do not return.
    pub(crate) fn log(self, level: PgLogLevel) {
        let mut report = ErrorReport::new(self.code, self.message, "pgraft");
        if let Some(detail) = self.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = self.hint {
            report = report.set_hint(hint);
        }
        report.report(level);
    }

    pub(crate) fn not_preloaded() -> Report {
        Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pgraft must be loaded via shared_preload_libraries",
        )
        .hint("Add pgraft to shared_preload_libraries in postgresql.conf and restart the server.")
    }

    pub(crate) fn null_argument(name: &str) -> Report {
        Report::new(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("argument \"{name}\" must not be null"),
        )
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Report {
        Report::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message)
    }

    pub(crate) fn too_long(what: &str, actual_bytes: usize, bytes_max: usize) -> Report {
        Report::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("{what} is {actual_bytes} bytes long, at most {bytes_max} are allowed"),
        )
    }

    pub(crate) fn not_utf8() -> Report {
        Report::new(PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, "text is not valid UTF-8")
            .hint("Keys and values of pgraft are UTF-8; encode binary data, for example as base64.")
    }

    /// The worker does not answer at all: nothing was sent.
    pub(crate) fn not_running(detail: impl Into<String>, hint: impl Into<String>) -> Report {
        Report::new(PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW, "pgraft worker is not running")
            .detail(detail)
            .hint(hint)
    }

    /// A write was sent and no answer came.
    pub(crate) fn unknown(message: impl Into<String>) -> Report {
        Report::new(PgSqlErrorCode::ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN, message)
            .detail("The write may have taken effect, may still do so, or may be lost.")
            .hint("Read the current state before you repeat it.")
    }

    /// The node spoke, but not the protocol.
    pub(crate) fn protocol(message: impl std::fmt::Display) -> Report {
        Report::new(
            PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            format!("unexpected answer from the pgraft worker: {message}"),
        )
        .hint("Restart the server if pgraft was upgraded while it was running.")
    }

    /// The node could not carry out a request.
    pub(crate) fn failure(failure: Failure) -> Report {
        let Failure { kind, message, hint } = failure;
        let code = match kind {
            FailureKind::Unknown => return Report::unknown(message),
            FailureKind::NotReady
            | FailureKind::NoLeader
            | FailureKind::NoQuorum
            | FailureKind::Stopping => PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
            FailureKind::Busy => PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            FailureKind::TooLarge => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            FailureKind::BadRequest => PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION,
            FailureKind::Internal => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        };
        let report = Report::new(code, message);
        match (hint.is_empty(), kind) {
            (false, _) => report.hint(hint),
            (true, FailureKind::NoLeader | FailureKind::NoQuorum) => {
                report.hint("Nothing was changed. Check that a majority of the nodes is running.")
            }
            (true, FailureKind::NotReady | FailureKind::Stopping | FailureKind::Busy) => {
                report.hint("Nothing was changed. Try again.")
            }
            (true, _) => report,
        }
    }

    /// A machine said no: equal on every node, nothing was changed.
    pub(crate) fn rejection(rejection: &Rejection) -> Report {
        let code = match rejection.host_code() {
            Some(code) => host_code(code),
            None if rejection.code < MACHINE_FIRST => {
                PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION
            }
            None => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        };
        Report::new(code, rejection.message.clone())
    }

    /// The same for programs that know the machine: with its name and the code of the rejection.
    pub(crate) fn machine_rejection(machine: &str, rejection: &Rejection) -> Report {
        let (code, detail) = (rejection.code, Report::rejection(rejection));
        let detail = detail.detail(format!("Machine \"{machine}\" rejected it with code {code}."));
        match rejection.host_code().map(host_hint) {
            Some(hint) if !hint.is_empty() => detail.hint(hint),
            _ => detail,
        }
    }

    /// Whether it says that a write may have taken effect.
    pub(crate) fn is_unknown(&self) -> bool {
        self.code == PgSqlErrorCode::ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN
    }

    /// The same, where the machine's own codes say more than "invalid".
    pub(crate) fn with_code(self, code: PgSqlErrorCode) -> Report {
        Report { code, ..self }
    }
}

/// First of the codes that are the machines' own.
const MACHINE_FIRST: u32 = 100;

fn host_code(code: HostCode) -> PgSqlErrorCode {
    match code {
        HostCode::Quota => PgSqlErrorCode::ERRCODE_DISK_FULL,
        HostCode::Throttled => PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
        HostCode::Migrating => PgSqlErrorCode::ERRCODE_CANNOT_CONNECT_NOW,
        HostCode::UnknownMachine => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        HostCode::SessionExpired => PgSqlErrorCode::ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN,
        HostCode::BadModule => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        HostCode::Conflict | HostCode::ModuleMissing | HostCode::ConfRefused => {
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
        }
        // The module's fault, not the caller's.
        HostCode::Trap
        | HostCode::OutOfFuel
        | HostCode::OutOfMemory
        | HostCode::StackOverflow
        | HostCode::ReadOnly
        | HostCode::BadInterface
        | HostCode::MalformedCommand => PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
    }
}

/// What to do about a rejection of the host, a sentence or two; may be empty.
fn host_hint(code: HostCode) -> &'static str {
    match code {
        HostCode::Trap | HostCode::StackOverflow | HostCode::BadInterface | HostCode::ReadOnly => {
            "Nothing was changed. This is a fault of the module: pgraft machine check finds such."
        }
        HostCode::OutOfFuel => {
            "Nothing was changed. Ask for less at once, or raise the machine's limit command_fuel."
        }
        HostCode::OutOfMemory => {
            "Nothing was changed. Ask for less at once, or raise the machine's limit memory_bytes."
        }
        HostCode::Quota => {
            "Nothing was changed. The limits and what is used stand in the view pgraft.machines; \
             pgraft_machine_limits changes them."
        }
        HostCode::Throttled => {
            "Nothing was changed. Try again in a second, or raise the machine's limit share_fuel."
        }
        HostCode::Migrating => "Nothing was changed. Try again when its migration is through.",
        HostCode::UnknownMachine => "The view pgraft.machines lists all machines.",
        HostCode::SessionExpired => "Read the current state before you repeat it.",
        HostCode::ModuleMissing => "Nothing was changed. Try again: the module is sent anew.",
        HostCode::BadModule => "Nothing was changed. pgraft machine check tells what is wrong.",
        HostCode::Conflict => "Nothing was changed. See the view pgraft.machines.",
        HostCode::MalformedCommand | HostCode::ConfRefused => "",
    }
}
