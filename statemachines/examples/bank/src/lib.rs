//! A bank: money moves between accounts, and none appears or is lost.
//!
//! The sum of all accounts is the machine's invariant; checkers look at it after every entry. Not
//! here: opening accounts, which would change the sum.

use std::collections::BTreeMap;
use std::fmt;

use pgraft_sdk::typed::{Caller, Context, Item, Machine, Rejection, Table, emit};
use serde::{Deserialize, Serialize};

/// The first balances; without a configuration, ten accounts `a0` to `a9` of 100 each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// By the name of the account.
    pub accounts: BTreeMap<String, u64>,
}

impl Default for Config {
    fn default() -> Config {
        Config { accounts: (0..10).map(|number| (format!("a{number}"), 100)).collect() }
    }
}

/// What moves money.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// From one account to another.
    Transfer {
        /// Who pays.
        from: String,
        /// Who is paid.
        to: String,
        /// How much, at least 1.
        amount: u64,
    },
}

/// Both balances after a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Of who paid.
    pub from: u64,
    /// Of who was paid.
    pub to: u64,
}

/// What asks for money.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// What is in an account.
    Balance(String),
    /// What is in all of them.
    Total,
}

/// Why a command or query was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such account.
    NoAccount(String),
    /// There is less in the account.
    Poor {
        /// What is in it.
        has: u64,
        /// What should be paid.
        amount: u64,
    },
    /// A transfer of nothing, or to oneself.
    Pointless,
    /// More money than can be counted.
    TooRich,
}

impl Rejection for Refused {
    fn code(&self) -> u32 {
        match self {
            Refused::NoAccount(_) => 101,
            Refused::Poor { .. } => 102,
            Refused::Pointless => 103,
            Refused::TooRich => 104,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoAccount(name) => write!(f, "there is no account {name:?}"),
            Refused::Poor { has, amount } => write!(f, "{amount} is more than the {has} in it"),
            Refused::Pointless => f.write_str("a transfer of nothing, or to oneself"),
            Refused::TooRich => write!(f, "the accounts together hold more than {}", u64::MAX),
        }
    }
}

const ACCOUNTS: Table<String, u64> = Table::new(1);
/// What the bank began with.
const TOTAL: Item<u64> = Item::new(2);

/// The machine.
pub struct Bank;

impl Machine for Bank {
    const NAME: &'static str = "bank";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    type Config = Config;
    type Command = Command;
    type Reply = Moved;
    type Query = Query;
    type Answer = u64;
    type Error = Refused;

    fn init(_ctx: &Context, config: Config) -> Result<(), Refused> {
        let mut balances = config.accounts.values();
        let total = balances.try_fold(0_u64, |sum, balance| sum.checked_add(*balance));
        TOTAL.put(&total.ok_or(Refused::TooRich)?);
        config.accounts.iter().for_each(|(name, balance)| ACCOUNTS.put(name, balance));
        Ok(())
    }

    fn apply(_ctx: &Context, _from: &Caller, command: Command) -> Result<Moved, Refused> {
        let Command::Transfer { from, to, amount } = command;
        if amount == 0 || from == to {
            return Err(Refused::Pointless);
        }
        let has = balance(&from)?;
        // No sum of two overflows: all of them together do not.
        let after = Moved {
            from: has.checked_sub(amount).ok_or(Refused::Poor { has, amount })?,
            to: balance(&to)? + amount,
        };
        ACCOUNTS.put(&from, &after.from);
        ACCOUNTS.put(&to, &after.to);
        emit("transfer", &Command::Transfer { from, to, amount });
        Ok(after)
    }

    fn query(_ctx: &Context, query: Query) -> Result<u64, Refused> {
        match query {
            Query::Balance(name) => balance(&name),
            Query::Total => Ok(ACCOUNTS.iter().map(|(_, balance)| balance).sum()),
        }
    }

    fn invariant(_ctx: &Context) -> Result<(), String> {
        let sum: u64 = ACCOUNTS.iter().map(|(_, balance)| balance).sum();
        let total = TOTAL.get().ok_or("nobody wrote down what the bank began with")?;
        if sum == total { Ok(()) } else { Err(format!("the sum is {sum}, but was {total}")) }
    }
}

fn balance(name: &str) -> Result<u64, Refused> {
    ACCOUNTS.get(name).ok_or_else(|| Refused::NoAccount(name.to_owned()))
}

pgraft_sdk::export!(Bank);
