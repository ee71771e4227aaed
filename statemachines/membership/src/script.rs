//! The words of the membership machine's golden scripts, `testscripts/**`.
//!
//! ```text
//! init n1=h1:5001 n2=h2:5002     first members, ids from 1
//! add <name> <address> [id=N]    remove <id>    promote <id>    announce <id> <hex>
//! check add ...                  the same commands, asked before they enter the log
//! done | failed | stray          outcome of the oldest effect: carried out, not; of an unknown one
//! members
//! ```
//!
//! To run them elsewhere, implement [`Backend`] and pass a [`Script`] over it to
//! `goldenscript::run` with the path of each file under `statemachines/membership/testscripts`.

use std::error::Error as StdError;
use std::fmt::Write as _;

use goldenscript::{ArgumentConsumer, Context, Runner};
use pgraft_sdk::{Error, Outcome};

pub use pgraft_sdk::native::Backend;

use crate::{CONF_CHANGE, Command, ConfRequest, Genesis, Member, Query, Reply, Role, TOPIC};

type Said = Result<String, Box<dyn StdError>>;

/// Runs scripts over a backend.
pub struct Script<B> {
    backend: B,
    shown_effects: Vec<u64>,
}

impl<B: Backend> Script<B> {
    /// `backend` is a machine that was not initialised yet.
    pub fn new(backend: B) -> Script<B> {
        Script { backend, shown_effects: Vec::new() }
    }

    fn init(&mut self, args: &mut ArgumentConsumer<'_>) -> Said {
        let mut members = Vec::new();
        while let Some((name, address)) = args.next_key() {
            members.push(Member {
                id: members.len() as u64 + 1,
                name: name.to_owned(),
                address: address.to_owned(),
                role: Role::Voter,
                incarnation: 0,
            });
        }
        match self.backend.init(&Genesis { members }.encode()) {
            Ok(()) => Ok("created\n".to_owned()),
            Err(error) => Ok(rejected(&error)),
        }
    }

    fn apply(&mut self, command: &Command) -> Said {
        let outcome = self.backend.apply(0, &[command.encode()]).remove(0);
        let mut told = match outcome {
            Err(error) => rejected(&error),
            Ok(reply) => match Reply::decode(&reply)? {
                Reply::Added { id } => format!("added {id}\n"),
                Reply::Done => "done\n".to_owned(),
                Reply::Members(_) => return Err("a command was answered with the list".into()),
            },
        };
        self.tell_consequences(&mut told)?;
        Ok(told)
    }

    fn finish(&mut self, stray: bool, outcome: Outcome) -> Said {
        let oldest = self.backend.effects().first().map(|effect| effect.id);
        let id = if stray { 9999 } else { oldest.ok_or("no effect waits")? };
        let mut told = String::new();
        if let Err(error) = self.backend.effect_done(0, id, outcome) {
            told = rejected(&error);
        }
        self.tell_consequences(&mut told)?;
        Ok(told)
    }

    fn tell_consequences(&mut self, told: &mut String) -> Result<(), Box<dyn StdError>> {
        for (topic, payload) in self.backend.take_events() {
            assert_eq!(topic, TOPIC, "there is one topic");
            writeln!(told, "event {}", shown(&Member::decode(&payload)?))?;
        }
        for effect in self.backend.effects() {
            if self.shown_effects.contains(&effect.id) {
                continue;
            }
            self.shown_effects.push(effect.id);
            assert_eq!(effect.kind, CONF_CHANGE, "there is one kind of effect");
            let request = ConfRequest::decode(&effect.payload)?;
            for (kind, id) in request.changes {
                writeln!(told, "effect {kind:?} {id}")?;
            }
        }
        Ok(())
    }

    fn members(&mut self) -> Said {
        let answer = match self.backend.query(&Query::Members.encode()) {
            Ok(answer) => answer,
            Err(error) => return Ok(rejected(&error)),
        };
        let Reply::Members(members) = Reply::decode(&answer)? else {
            return Err("the list was asked for".into());
        };
        Ok(members.iter().map(|member| shown(member) + "\n").collect())
    }
}

impl<B: Backend> Runner for Script<B> {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &goldenscript::Command, _context: &Context) -> Said {
        let mut args = command.consume_args();
        let said = match command.name.as_str() {
            "init" => self.init(&mut args)?,
            "members" => self.members()?,
            "done" => self.finish(false, Ok(Vec::new()))?,
            "failed" => self.finish(false, Err(Error::new(100, "not carried out")))?,
            "stray" => self.finish(true, Ok(Vec::new()))?,
            "check" => {
                let word = args.next_pos().ok_or("check what?")?;
                match self.backend.check(&parse(word, &mut args)?.encode()) {
                    Ok(()) => "would be accepted\n".to_owned(),
                    Err(error) => rejected(&error),
                }
            }
            "raw" => {
                let payload = args.next_pos().unwrap_or_default().as_bytes().to_vec();
                match self.backend.apply(0, &[payload]).remove(0) {
                    Ok(_) => "accepted\n".to_owned(),
                    Err(error) => rejected(&error),
                }
            }
            word => {
                let command = parse(word, &mut args)?;
                self.apply(&command)?
            }
        };
        args.reject_next()?;
        Ok(said)
    }
}

fn parse(word: &str, args: &mut ArgumentConsumer<'_>) -> Result<Command, Box<dyn StdError>> {
    let id = args.take_key("id").unwrap_or("0").parse()?;
    let mut next = || args.next_pos().ok_or(format!("{word} needs another argument"));
    Ok(match word {
        "add" => Command::Add { id, name: next()?.to_owned(), address: next()?.to_owned() },
        "remove" => Command::Remove { id: next()?.parse()? },
        "promote" => Command::Promote { id: next()?.parse()? },
        "announce" => Command::Announce {
            id: next()?.parse()?,
            incarnation: u128::from_str_radix(next()?, 16)?,
        },
        _ => return Err(format!("unknown word {word}").into()),
    })
}

fn rejected(error: &Error) -> String {
    format!("rejected {} {}\n", error.code, error.message)
}

fn shown(member: &Member) -> String {
    let Member { id, name, address, role, incarnation } = member;
    let known = match incarnation {
        0 => String::new(),
        incarnation => format!(" incarnation {incarnation:x}"),
    };
    format!("{id} {name} {address} {}{known}", role.name())
}
