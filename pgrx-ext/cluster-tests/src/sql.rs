//! A connection to one server.

use std::path::Path;

use postgres::types::FromSqlOwned;
use postgres::{Client, Config, NoTls};

/// Longest a statement of a test may take, milliseconds: a hang must not hang the test.
const STATEMENT_TIMEOUT_MS: u32 = 60_000;

/// One session.
pub struct Sql {
    client: Client,
}

/// Why a statement failed, as SQL says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE; empty when the connection broke.
    pub code: String,
    /// Primary message.
    pub message: String,
    /// Detail, empty if none.
    pub detail: String,
    /// Hint, empty if none.
    pub hint: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Refusal { code, message, detail, hint } = self;
        write!(f, "{code}: {message} / {detail} / {hint}")
    }
}

impl From<postgres::Error> for Refusal {
    fn from(error: postgres::Error) -> Refusal {
        match error.as_db_error() {
            Some(db) => Refusal {
                code: db.code().code().to_owned(),
                message: db.message().to_owned(),
                detail: db.detail().unwrap_or_default().to_owned(),
                hint: db.hint().unwrap_or_default().to_owned(),
            },
            None => Refusal {
                code: String::new(),
                message: error.to_string(),
                detail: String::new(),
                hint: String::new(),
            },
        }
    }
}

impl Sql {
    pub(crate) fn connect(folder: &Path, database: &str) -> Result<Sql, Refusal> {
        let mut config = Config::new();
        config.host_path(folder).port(5432).user("postgres").dbname(database);
        config.options(&format!("-c statement_timeout={STATEMENT_TIMEOUT_MS}"));
        config.connect_timeout(std::time::Duration::from_secs(10));
        Ok(Sql { client: config.connect(NoTls)? })
    }

    /// Runs statements.
    ///
    /// # Errors
    /// As SQL says it.
    pub fn run(&mut self, statements: &str) -> Result<(), Refusal> {
        Ok(self.client.batch_execute(statements)?)
    }

    /// The first column of the only row.
    ///
    /// # Errors
    /// As SQL says it.
    pub fn one<T: FromSqlOwned>(&mut self, statement: &str) -> Result<T, Refusal> {
        Ok(self.client.query_one(statement, &[])?.get(0))
    }

    /// All rows.
    ///
    /// # Errors
    /// As SQL says it.
    pub fn rows(&mut self, statement: &str) -> Result<Vec<postgres::Row>, Refusal> {
        Ok(self.client.query(statement, &[])?)
    }

    /// The refusal that a statement must end in.
    ///
    /// # Panics
    /// When it succeeds.
    pub fn refused(&mut self, statement: &str) -> Refusal {
        match self.run(statement) {
            Ok(()) => panic!("{statement} was not refused"),
            Err(refusal) => refusal,
        }
    }

    /// Writes a key.
    ///
    /// # Errors
    /// As SQL says it.
    pub fn put(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        let row = self.client.query_one("SELECT pgraft_kv_put($1, $2)", &[&key, &value])?;
        assert!(row.get::<_, bool>(0), "true means success, anything else is an error");
        Ok(())
    }

    /// Reads a key.
    ///
    /// # Errors
    /// As SQL says it.
    pub fn get(&mut self, key: &str) -> Result<Option<String>, Refusal> {
        Ok(self.client.query_one("SELECT pgraft_kv_get($1)", &[&key])?.get(0))
    }
}
