//! The member list, and every decision about it. Pure: nothing here touches storage.

use std::collections::BTreeMap;

use crate::rejection::Rejection;
use crate::{Command, ConfRequest, ConfRequestKind, Genesis, Member, Reply, Role};

/// Longest name, in bytes; as in the node's settings.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest host, in bytes; as in the domain name system.
pub const HOST_BYTES_MAX: usize = 253;
/// Members that are not gone.
pub const MEMBERS_MAX: usize = 32;
/// Largest id: SQL shows ids as `bigint`.
pub const ID_MAX: u64 = i64::MAX as u64;

/// All members ever, and the change that is being carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    pub(crate) members: BTreeMap<u64, Member>,
    /// Larger than every id ever used.
    pub(crate) next_id: u64,
    pub(crate) change: Option<Change>,
}

/// The change that is being carried out: there is at most one, so that a configuration never
/// depends on the order in which two effects come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The effect whose outcome ends it.
    pub(crate) effect: u64,
    /// Who is changed.
    pub(crate) id: u64,
    /// The role to go back to when the leader could not do it.
    pub(crate) from: Role,
}

/// What an accepted command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub reply: Reply,
    /// The row to write, if one changes.
    pub member: Option<Member>,
    /// The configuration change to ask for, if one is needed, and the role to go back to.
    pub request: Option<(ConfRequest, Role)>,
}

impl List {
    /// The first list.
    ///
    /// # Errors
    /// When the members contradict themselves or are not all voters.
    pub fn begin(genesis: &Genesis) -> Result<List, Rejection> {
        let refuse = |why: String| Err(Rejection::Genesis(why));
        if genesis.members.is_empty() {
            return refuse("there are none".to_owned());
        }
        let mut list = List { next_id: 1, ..List::default() };
        for member in &genesis.members {
            if member.role != Role::Voter {
                return refuse(format!("member {} is not a voter", member.id));
            }
            if member.id == 0 {
                return Err(Rejection::Id(0));
            }
            let id = list.free_id(member.id)?;
            list.admissible(&member.name, &member.address)?;
            list.next_id = list.next_id.max(id + 1);
            list.members.insert(id, member.clone());
        }
        list.assert_sound();
        Ok(list)
    }

    /// All members ever, in ascending order of ids.
    pub fn members(&self) -> Vec<Member> {
        self.members.values().cloned().collect()
    }

    /// Decides a command.
    ///
    /// # Errors
    /// The reason why not. Nothing changes then.
    pub fn decide(&self, command: &Command) -> Result<Decision, Rejection> {
        match command {
            Command::Add { id, name, address } => self.add(*id, name, address),
            Command::Remove { id } => self.remove(*id),
            Command::Promote { id } => self.promote(*id),
            Command::Announce { id, incarnation } => self.announce(*id, *incarnation),
        }
    }

    /// What follows when the leader has carried out the change, or could not. None when `effect`
    /// is not the one that is waited for: outcomes come back at least once.
    pub fn finish(&self, effect: u64, done: bool) -> Option<Member> {
        let change = self.change.filter(|change| change.effect == effect)?;
        let mut member = self.members[&change.id].clone();
        let next = match (member.role, done) {
            (Role::Joining, true) => Role::Learner,
            (Role::Joining, false) => Role::Gone,
            (Role::Promoting, true) => Role::Voter,
            (Role::Promoting, false) => Role::Learner,
            (Role::Leaving, true) => Role::Gone,
            (Role::Leaving, false) => change.from,
            (role, _) => panic!("member {} is in flight as {role:?}", member.id),
        };
        member.role = member.role.moved_to(next);
        Some(member)
    }

    /// What must hold between two entries.
    ///
    /// # Panics
    /// When it does not: the list would be wrong on every replica, so stopping is all that helps.
    pub fn assert_sound(&self) {
        let moving = |role| matches!(role, Role::Joining | Role::Promoting | Role::Leaving);
        let in_flight: Vec<u64> =
            self.members.values().filter(|m| moving(m.role)).map(|m| m.id).collect();
        let expected: Vec<u64> = self.change.iter().map(|change| change.id).collect();
        assert_eq!(in_flight, expected, "exactly the member in flight may be between two roles");
        let last = self.members.keys().next_back().copied().unwrap_or(0);
        assert!(last < self.next_id, "id {last} was given, {} is next", self.next_id);
        let voters = self.voters();
        assert!(voters > 0 || self.members.is_empty(), "a voter is left");
    }

    fn voters(&self) -> usize {
        self.members.values().filter(|member| member.role == Role::Voter).count()
    }

    fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.role != Role::Gone)
    }

    fn member(&self, id: u64) -> Result<&Member, Rejection> {
        match self.members.get(&id) {
            None => Err(Rejection::UnknownMember(id)),
            Some(member) if member.role == Role::Gone => Err(Rejection::MemberGone(id)),
            Some(member) => Ok(member),
        }
    }

    /// One configuration change at a time (Raft thesis, section 4.1).
    fn idle(&self) -> Result<(), Rejection> {
        match self.change {
            Some(change) => Err(Rejection::busy(&self.members[&change.id])),
            None => Ok(()),
        }
    }

    fn free_id(&self, wish: u64) -> Result<u64, Rejection> {
        let id = if wish == 0 { self.next_id } else { wish };
        if id > ID_MAX || self.members.contains_key(&id) {
            return Err(Rejection::Id(id));
        }
        Ok(id)
    }

    fn admissible(&self, name: &str, address: &str) -> Result<(), Rejection> {
        if !is_name(name) {
            return Err(Rejection::MalformedName(name.to_owned()));
        }
        if !is_address(address) {
            return Err(Rejection::MalformedAddress(address.to_owned()));
        }
        for member in self.present() {
            if member.name == name {
                return Err(Rejection::DuplicateName(name.to_owned(), member.id));
            }
            if member.address == address {
                return Err(Rejection::DuplicateAddress(address.to_owned(), member.id));
            }
        }
        if self.present().count() >= MEMBERS_MAX {
            return Err(Rejection::TooManyMembers);
        }
        Ok(())
    }

    fn add(&self, wish: u64, name: &str, address: &str) -> Result<Decision, Rejection> {
        let id = self.free_id(wish)?;
        self.admissible(name, address)?;
        self.idle()?;
        let (name, address) = (name.to_owned(), address.to_owned());
        let member = Member { id, name, address, role: Role::Joining, incarnation: 0 };
        let request = Some((one(ConfRequestKind::AddLearner, id), Role::Joining));
        Ok(Decision { reply: Reply::Added { id }, member: Some(member), request })
    }

    fn remove(&self, id: u64) -> Result<Decision, Rejection> {
        let mut member = self.member(id)?.clone();
        self.idle()?;
        if member.role == Role::Voter && self.voters() == 1 {
            return Err(Rejection::LastVoter(id));
        }
        let from = member.role;
        member.role = member.role.moved_to(Role::Leaving);
        let request = Some((one(ConfRequestKind::Remove, id), from));
        Ok(Decision { reply: Reply::Done, member: Some(member), request })
    }

    fn promote(&self, id: u64) -> Result<Decision, Rejection> {
        let mut member = self.member(id)?.clone();
        self.idle()?;
        if member.role != Role::Learner {
            return Err(Rejection::NotALearner(id, member.role));
        }
        member.role = member.role.moved_to(Role::Promoting);
        let request = Some((one(ConfRequestKind::AddVoter, id), Role::Learner));
        Ok(Decision { reply: Reply::Done, member: Some(member), request })
    }

    fn announce(&self, id: u64, announced: u128) -> Result<Decision, Rejection> {
        let known = self.member(id)?.incarnation;
        // 0 means "not yet known" and speaks for no data directory.
        let member = match known {
            _ if announced == 0 => {
                return Err(Rejection::IncarnationMismatch { id, known, announced });
            }
            0 => Some(Member { incarnation: announced, ..self.member(id)?.clone() }),
            known if known == announced => None,
            _ => return Err(Rejection::IncarnationMismatch { id, known, announced }),
        };
        Ok(Decision { reply: Reply::Done, member, request: None })
    }
}

fn one(kind: ConfRequestKind, id: u64) -> ConfRequest {
    ConfRequest { changes: vec![(kind, id)] }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

/// `host:port`: a name or IPv4 address, or an IPv6 address in brackets; a port from 1 to 65535.
fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let port_ok = port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|number| number > 0);
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_ok = match inner {
        Some(inner) => inner.parse::<core::net::Ipv6Addr>().is_ok(),
        None => (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(is_name_byte),
    };
    port_ok && host_ok
}
