//! Numbers that were seen, forgotten, and never opened; expiry by time, count and bytes.

use super::*;

const HOUR_MS: u64 = SESSION_IDLE_MS_MAX;

fn reply(text: &str) -> Outcome {
    Ok(text.as_bytes().to_vec())
}

fn opened(ids: &[u64], now_ms: u64) -> Sessions {
    let mut sessions = Sessions::default();
    ids.iter().for_each(|id| sessions.open(*id, now_ms));
    sessions
}

#[test]
fn a_number_is_new_once() {
    let mut sessions = opened(&[7], 0);
    assert_eq!(sessions.look_up(7, 1, 0, 0), Seen::New);
    sessions.remember(7, 1, &reply("one"));
    assert_eq!(sessions.look_up(7, 1, 0, 0), Seen::Before(reply("one")));
    // Numbers may arrive in any order.
    assert_eq!(sessions.look_up(7, 3, 0, 0), Seen::New);
    assert_eq!(sessions.look_up(7, 2, 0, 0), Seen::New);
}

#[test]
fn a_rejection_is_remembered_like_a_reply() {
    let mut sessions = opened(&[7], 0);
    let rejection = Err(Rejection::host(HostCode::Trap));
    sessions.remember(7, 1, &rejection);
    assert_eq!(sessions.look_up(7, 1, 0, 0), Seen::Before(rejection));
}

#[test]
fn an_acknowledged_number_is_never_applied_again() {
    let mut sessions = opened(&[7], 0);
    sessions.remember(7, 1, &reply("one"));
    sessions.remember(7, 2, &reply("two"));
    assert_eq!(sessions.look_up(7, 3, 2, 0), Seen::New);
    assert_eq!(sessions.look_up(7, 1, 0, 0), Seen::Expired);
    assert_eq!(sessions.look_up(7, 2, 0, 0), Seen::Before(reply("two")));
    assert_eq!(sessions.bytes, bytes_of(&reply("two")));
}

#[test]
fn sessions_expire_by_idle_time_and_not_before() {
    let mut sessions = opened(&[7, 8], 1_000);
    sessions.expire(1_000 + HOUR_MS);
    assert_eq!(sessions.look_up(8, 1, 0, 1_000 + HOUR_MS), Seen::New);
    sessions.expire(1_001 + HOUR_MS);
    assert_eq!(sessions.look_up(7, 1, 0, 1_001 + HOUR_MS), Seen::Expired);
    assert_eq!(sessions.look_up(8, 1, 0, 1_001 + HOUR_MS), Seen::New, "it was used since");
}

#[test]
fn the_least_recently_used_makes_room() {
    let ids: Vec<u64> = (1..=SESSIONS_MAX as u64).collect();
    let mut sessions = opened(&ids, 0);
    assert_eq!(sessions.look_up(1, 1, 0, 5), Seen::New);
    sessions.open(10_000, 6);
    assert_eq!(sessions.look_up(2, 1, 0, 6), Seen::Expired);
    assert_eq!(sessions.look_up(1, 1, 0, 6), Seen::New);
    assert_eq!(sessions.open.len(), SESSIONS_MAX);
}

#[test]
fn remembered_bytes_are_bounded_per_session_and_together() {
    let large: Outcome = Ok(vec![0; SESSION_BYTES_MAX]);
    let sessions_max = SESSIONS_BYTES_MAX / SESSION_BYTES_MAX;
    let ids: Vec<u64> = (1..=1 + sessions_max as u64).collect();
    let mut sessions = Sessions::default();
    for id in &ids {
        sessions.open(*id, *id);
        assert_eq!(sessions.look_up(*id, 1, 0, *id), Seen::New);
        sessions.remember(*id, 1, &large);
        assert!(sessions.bytes <= SESSIONS_BYTES_MAX);
    }
    assert_eq!(sessions.look_up(1, 2, 0, 99), Seen::Expired, "it was used longest ago");
    let last = *ids.last().unwrap();
    assert_eq!(sessions.look_up(last, 2, 0, 99), Seen::Full);
    assert_eq!(sessions.look_up(last, 2, 2, 99), Seen::New, "acknowledging makes room");
}

#[test]
fn one_entry_cannot_fill_a_session_beyond_its_row() {
    let mut sessions = opened(&[7], 0);
    let large: Outcome = Ok(vec![0; SESSION_BYTES_MAX]);
    for seq in 1..=3 {
        assert_eq!(sessions.look_up(7, seq, 0, 0), Seen::New);
    }
    for seq in 1..=3 {
        sessions.remember(7, seq, &large);
    }
    let forgotten = Seen::Before(Err(Rejection::host(HostCode::Quota)));
    assert_eq!(sessions.look_up(7, 1, 0, 0), Seen::Before(large));
    assert_eq!(sessions.look_up(7, 2, 0, 0), forgotten, "and it is not applied again");
    assert!(sessions.open[&7].encode().len() < 2 * SESSION_BYTES_MAX);
}

#[test]
fn what_the_same_entry_acknowledges_is_not_remembered() {
    let mut sessions = opened(&[7], 0);
    assert_eq!(sessions.look_up(7, 1, 0, 0), Seen::New);
    assert_eq!(sessions.look_up(7, 2, 2, 0), Seen::New);
    sessions.remember(7, 1, &reply("one"));
    assert_eq!(sessions.bytes, 0);
}

#[test]
fn a_row_survives_the_round_trip() {
    let mut session = Session { used_ms: 5, acked_below: 3, ..Session::default() };
    for (seq, outcome) in [(3, reply("three")), (9, Err(Rejection::host(HostCode::Quota)))] {
        session.bytes += bytes_of(&outcome);
        session.replies.insert(seq, outcome);
    }
    assert_eq!(Session::decode(&session.encode()), Ok(session.clone()));
    let row = session.encode();
    assert!((0..row.len()).all(|length| Session::decode(&row[..length]).is_err()));
}
