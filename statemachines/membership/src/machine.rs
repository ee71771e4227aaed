//! The guest's entry points: the list from storage, a decision, and its consequences to storage.
//!
//! Rows: `n` holds the next free id, `c` the change in flight, `m` + id (big endian) a member.

use pgraft_sdk::codec::{CodecError, Reader, Writer};
use pgraft_sdk::{
    Command as Call, Context, Error, Machine, Result, Trigger, effects, events, log, prefix_end,
    scan, storage,
};

use crate::list::{Change, Decision, List};
use crate::rejection::Rejection;
use crate::{CONF_CHANGE, Command, Genesis, Member, Query, Reply, Role, TOPIC};

const NEXT_ID: &[u8] = b"n";
const CHANGE: &[u8] = b"c";
const MEMBERS: &[u8] = b"m";

/// The machine.
pub struct Membership;

impl Machine for Membership {
    const NAME: &'static str = "membership";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const SCHEMA: u32 = 1;

    fn init(_ctx: &Context, config: &[u8]) -> Result<()> {
        let genesis = Genesis::decode(config).map_err(Rejection::from)?;
        let list = List::begin(&genesis)?;
        write_next_id(list.next_id);
        for member in list.members.values() {
            storage::put(&member_row(member.id), &member.encode());
        }
        Ok(())
    }

    fn check(_ctx: &Context, call: &Call) -> Result<()> {
        let command = Command::decode(&call.payload).map_err(Rejection::from)?;
        load().decide(&command)?;
        Ok(())
    }

    fn apply(_ctx: &Context, call: &Call) -> Result<Vec<u8>> {
        let command = Command::decode(&call.payload).map_err(Rejection::from)?;
        let mut list = load();
        let Decision { reply, member, request } = list.decide(&command)?;
        if let Some(member) = member {
            if let Some((request, from)) = request {
                let effect = effects::request(CONF_CHANGE, &request.encode());
                write_change(&mut list, Some(Change { effect, id: member.id, from }));
            }
            write_member(&mut list, member);
        }
        list.assert_sound();
        Ok(reply.encode())
    }

    fn react(_ctx: &Context, what: &Trigger) -> Result<()> {
        let Trigger::EffectDone((effect, outcome)) = what else { return Ok(()) };
        let mut list = load();
        let Some(member) = list.finish(*effect, outcome.is_ok()) else {
            log::write(log::Level::Warn, &format!("outcome of unknown effect {effect}"));
            return Ok(());
        };
        if let Err(Error { code, message }) = outcome {
            let id = member.id;
            log::write(log::Level::Warn, &format!("member {id} unchanged: {message} ({code})"));
        }
        write_change(&mut list, None);
        write_member(&mut list, member);
        list.assert_sound();
        Ok(())
    }

    fn query(_ctx: &Context, request: &[u8]) -> Result<Vec<u8>> {
        match Query::decode(request).map_err(Rejection::from)? {
            Query::Members => Ok(Reply::Members(load().members()).encode()),
        }
    }
}

fn member_row(id: u64) -> Vec<u8> {
    [MEMBERS, &id.to_be_bytes()].concat()
}

fn load() -> List {
    let next_id = storage::get(NEXT_ID).map_or(1, |row| {
        u64::from_le_bytes(row[..].try_into().expect("only this machine writes its rows"))
    });
    let change = storage::get(CHANGE)
        .map(|row| decode_change(&row).expect("only this machine writes its rows"));
    let mut list = List { next_id, change, ..List::default() };
    for (_, row) in scan(MEMBERS, &prefix_end(MEMBERS)) {
        let member = Member::decode(&row).expect("only this machine writes its rows");
        list.members.insert(member.id, member);
    }
    list
}

fn write_next_id(next_id: u64) {
    storage::put(NEXT_ID, &next_id.to_le_bytes());
}

fn write_member(list: &mut List, member: Member) {
    let row = member.encode();
    storage::put(&member_row(member.id), &row);
    events::emit(TOPIC, &row);
    if member.id >= list.next_id {
        list.next_id = member.id + 1;
        write_next_id(list.next_id);
    }
    list.members.insert(member.id, member);
}

fn write_change(list: &mut List, change: Option<Change>) {
    match change {
        Some(change) => storage::put(CHANGE, &encode_change(change)),
        None => assert!(storage::delete(CHANGE), "the change that ends was stored"),
    }
    list.change = change;
}

fn encode_change(change: Change) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u64(change.effect).u64(change.id).u8(change.from as u8);
    writer.finish()
}

fn decode_change(row: &[u8]) -> Result<Change, CodecError> {
    let mut reader = Reader::new(row);
    let (effect, id) = (reader.u64("effect")?, reader.u64("id")?);
    let from = Role::ALL.get(usize::from(reader.u8("role")?)).copied();
    reader.end()?;
    Ok(Change { effect, id, from: from.ok_or(reader.error("role"))? })
}
