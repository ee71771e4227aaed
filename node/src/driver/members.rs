//! Who the members are, and who may become one: read from the membership machine, told to the
//! transport.

use bytes::Bytes;
use pgraft_membership::{Member, Role as MemberRole};
use pgraft_replica::Index;
use tokio::time::Duration;

use super::{Driver, End};
use crate::duties::MEMBERSHIP;
use crate::event::Event;
use crate::join;
use crate::readers::Readers;

/// Attempts to read the member list, and the pause between them.
const MEMBER_READS_MAX: u32 = 20;
const MEMBER_READ_PAUSE: Duration = Duration::from_millis(100);

impl Driver {
    /// A joining node learns genesis, its id, and whom to talk to.
    pub(super) fn admit(&self, request: &Bytes) -> Result<Bytes, String> {
        let request = join::Request::decode(request).map_err(|error| error.to_string())?;
        let mut members = self.parts.members.iter();
        let known = members
            .find(|member| member.role != MemberRole::Gone && member.address == request.address);
        let Some(member) = known else {
            return Err(format!(
                "{} is not the address of a member; add it first",
                request.address
            ));
        };
        // A voter that comes without its disk may have voted and forgotten it.
        let new = matches!(member.role, MemberRole::Joining | MemberRole::Learner);
        let same = member.incarnation == request.incarnation && request.incarnation != 0;
        let fresh = new && member.incarnation == 0;
        if !same && !fresh {
            return Err(format!(
                "node {} at {} has another data directory; remove the member and add it again",
                member.id, member.address
            ));
        }
        let welcome = join::Welcome {
            genesis: self.parts.genesis.clone(),
            id: member.id,
            peers: join::peers(&self.parts.members),
        };
        Ok(welcome.encode())
    }

    /// Reads the member list in the background; it comes back as an event.
    pub(super) fn ask_members(&self) {
        let (readers, own) = (self.parts.readers.clone(), self.parts.own.clone());
        tokio::spawn(async move {
            let mut told = String::new();
            for _ in 0..MEMBER_READS_MAX {
                match read_members(&readers).await {
                    Ok((index, members)) => {
                        let _ended = own.send(Event::Members { index, members });
                        return;
                    }
                    Err(why) => told = why,
                }
                tokio::time::sleep(MEMBER_READ_PAUSE).await;
            }
            let why = format!("the member list could not be read: {told}");
            let _ended = own.send(Event::Failed(why));
        });
    }

    /// The transport may talk to the members, and to nobody else.
    pub(super) fn meet_members(&mut self) {
        let me = self.parts.replica.view().id;
        let mut members = self.parts.members.clone();
        // Ids are never used again: one that the log does not tell of is newer than the log here.
        let newer = |one: &&Member| !self.parts.members.iter().any(|known| known.id == one.id);
        members.extend(self.told.iter().filter(newer).cloned());
        let (peers, removed) = join::address_book(&members, me);
        self.parts.transport.set_peers(peers);
        self.parts.transport.set_removed(removed);
        let own = self.parts.members.iter().find(|member| member.id == me.get());
        let known = own.map_or(0, |member| member.incarnation);
        if known != 0 && known != self.parts.incarnation {
            let why = format!("node id {me} belongs to another data directory");
            self.end.get_or_insert(End::Failed(why));
        }
    }

    /// Whom to talk to, from a cluster that this node joins or has fallen behind; what the log
    /// says comes later and counts more.
    pub(super) fn welcomed(&mut self, members: Vec<Member>) {
        if self.members_at == Index::ZERO {
            for member in &members {
                let mut known = self.parts.members.iter_mut();
                if let Some(known) = known.find(|one| one.id == member.id) {
                    known.address.clone_from(&member.address);
                    known.incarnation = member.incarnation;
                }
            }
        }
        self.told = members;
        self.meet_members();
    }

    /// Somebody came whom this node does not know, perhaps the leader itself: the log that would
    /// tell of it cannot come before it is let in.
    pub(super) fn ask_who_is_there(&self) {
        let me = self.parts.replica.view().id;
        let (peers, _) = join::address_book(&self.parts.members, me);
        let addresses = peers.into_values().map(|peer| peer.address).collect();
        self.parts.wanted.send_replace(addresses);
    }
}

/// The member list and the index it was read at.
async fn read_members(readers: &Readers) -> Result<(Index, Vec<Member>), String> {
    let query = pgraft_membership::Query::Members.encode();
    let answer = readers.query(MEMBERSHIP.to_owned(), "sys:node".to_owned(), query).await;
    let answer = answer.map_err(|failure| failure.to_string())?;
    let reply = answer.outcome.map_err(|rejection| rejection.message)?;
    match pgraft_membership::Reply::decode(&reply) {
        Ok(pgraft_membership::Reply::Members(members)) => Ok((answer.index, members)),
        other => Err(format!("{other:?}")),
    }
}
