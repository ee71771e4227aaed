//! Every encoding comes back; no other bytes are taken, and none panic.

use pgraft_membership::{
    Command, ConfRequest, ConfRequestKind, Genesis, Member, Query, Reply, Role,
};

/// Chance of this test: the n-th number of a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn number(&mut self) -> u64 {
        let bits = self.below(65);
        if bits == 64 { u64::MAX } else { self.below(u64::MAX) & ((1 << bits) - 1) }
    }

    fn text(&mut self) -> String {
        (0..self.below(20)).map(|_| char::from(b' ' + self.below(90) as u8)).collect()
    }

    fn member(&mut self) -> Member {
        Member {
            id: self.number(),
            name: self.text(),
            address: self.text(),
            role: Role::ALL[self.below(6) as usize],
            incarnation: u128::from(self.number()) << self.below(65),
        }
    }

    fn members(&mut self) -> Vec<Member> {
        (0..self.below(5)).map(|_| self.member()).collect()
    }

    fn command(&mut self) -> Command {
        let id = self.number();
        match self.below(4) {
            0 => Command::Add { id, name: self.text(), address: self.text() },
            1 => Command::Remove { id },
            2 => Command::Promote { id },
            _ => Command::Announce { id, incarnation: u128::from(self.number()) << 64 },
        }
    }

    fn reply(&mut self) -> Reply {
        match self.below(3) {
            0 => Reply::Done,
            1 => Reply::Added { id: self.number() },
            _ => Reply::Members(self.members()),
        }
    }

    fn request(&mut self) -> ConfRequest {
        use ConfRequestKind::{AddLearner, AddVoter, Remove};
        let kinds = [AddVoter, AddLearner, Remove];
        let changes = 0..self.below(4);
        ConfRequest {
            changes: changes.map(|_| (kinds[self.below(3) as usize], self.number())).collect(),
        }
    }
}

/// Decodes as everything; a success must encode to the same bytes again.
fn decode_all(bytes: &[u8]) {
    if let Ok(value) = Command::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Query::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Reply::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Genesis::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = Member::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
    if let Ok(value) = ConfRequest::decode(bytes) {
        assert_eq!(value.encode(), bytes);
    }
}

#[test]
fn values_come_back_and_mutations_do_not_panic() {
    let seed = 1;
    println!("seed {seed}");
    let mut chance = Chance(seed);
    for _ in 0..2000 {
        let command = chance.command();
        assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
        let reply = chance.reply();
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply.clone()));
        let genesis = Genesis { members: chance.members() };
        assert_eq!(Genesis::decode(&genesis.encode()), Ok(genesis.clone()));
        let request = chance.request();
        assert_eq!(ConfRequest::decode(&request.encode()), Ok(request.clone()));
        for mut bytes in [command.encode(), reply.encode(), genesis.encode(), request.encode()] {
            for _ in 0..4 {
                let at = chance.below(bytes.len() as u64) as usize;
                bytes[at] = chance.below(256) as u8;
                decode_all(&bytes);
            }
            bytes.truncate(chance.below(bytes.len() as u64) as usize);
            decode_all(&bytes);
        }
    }
}

#[test]
fn a_list_that_claims_more_than_there_is_allocates_nothing() {
    // Format 1, reply 3, 2^62 members.
    let bytes = [1, 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    assert!(Reply::decode(&bytes).is_err());
}

#[test]
fn a_number_has_one_encoding() {
    // Remove of member 1, with the id as one byte and as two.
    assert_eq!(Command::decode(&[1, 2, 1]), Ok(Command::Remove { id: 1 }));
    assert!(Command::decode(&[1, 2, 0x81, 0]).is_err());
}
