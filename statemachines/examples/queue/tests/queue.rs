//! Jobs wait, are taken in order, and come back when their worker is late.

use pgraft_example_queue::{Command, Counts, Query, Queue, Reply, Taken};
use pgraft_sdk::Error;
use pgraft_sdk::native::Sandbox;

fn put(body: &str, delay_ms: u64) -> Command {
    Command::Put { body: body.to_owned(), delay_ms }
}

fn take(queue: &mut Sandbox<Queue>, for_ms: u64) -> Option<(u64, u32)> {
    match queue.apply(Command::Take { for_ms }).expect("anybody may take") {
        Reply::Taken(taken) => taken.map(|Taken { id, attempt, .. }| (id, attempt)),
        other => panic!("{other:?}"),
    }
}

fn done(queue: &mut Sandbox<Queue>, id: u64, attempt: u32) -> Result<Reply, Error> {
    queue.apply(Command::Done { id, attempt })
}

fn counts(queue: &mut Sandbox<Queue>) -> (u64, u64, u64) {
    let Counts { waiting, ready, taken } = queue.query(Query::Counts).expect("anybody may ask");
    (waiting, ready, taken)
}

#[test]
fn jobs_wait_for_their_time() {
    let mut queue = Sandbox::<Queue>::new(()).unwrap();
    queue.apply_all([put("late", 100), put("now", 0), put("later", 200)]);
    assert_eq!(counts(&mut queue), (2, 1, 0));
    assert_eq!((take(&mut queue, 1_000), take(&mut queue, 1_000)), (Some((2, 1)), None));
    assert_eq!((queue.advance(99), counts(&mut queue)), (0, (2, 0, 1)));
    assert_eq!((queue.advance(1), counts(&mut queue)), (1, (1, 1, 1)));
    assert_eq!((queue.advance(100), take(&mut queue, 1_000)), (1, Some((1, 1))), "in order");
    let ready: Vec<Vec<u8>> = queue.take_events().into_iter().map(|(_, id)| id).collect();
    assert_eq!(ready, [b"2", b"1", b"3"]);
}

#[test]
fn a_late_worker_loses_its_job() {
    let mut queue = Sandbox::<Queue>::new(()).unwrap();
    queue.apply(put("job", 0)).unwrap();
    assert_eq!(take(&mut queue, 50), Some((1, 1)));
    assert_eq!((queue.advance(49), take(&mut queue, 50)), (0, None));
    assert_eq!((queue.advance(1), take(&mut queue, 50)), (1, Some((1, 2))));
    assert_eq!(done(&mut queue, 1, 1).unwrap_err().code, 101, "the first worker is too late");
    assert_eq!(done(&mut queue, 1, 2), Ok(Reply::Done));
    assert_eq!(done(&mut queue, 1, 2).unwrap_err().code, 101);
    assert_eq!((counts(&mut queue), queue.next_wake()), ((0, 0, 0), None));
}

/// The wake-up is a courtesy: a command sees what is due when it comes late.
#[test]
fn what_is_due_is_ready_even_before_the_wake_up() {
    let mut queue = Sandbox::<Queue>::new(()).unwrap();
    queue.apply(put("job", 10)).unwrap();
    let taken = queue.host().apply(10, br#"{"take":{"for_ms":5}}"#).unwrap();
    let told = String::from_utf8(taken).unwrap();
    assert_eq!(told, r#"{"taken":{"id":1,"attempt":1,"body":"job"}}"#);
}

#[test]
fn very_many_jobs_ripen_in_several_steps() {
    let mut queue = Sandbox::<Queue>::new(()).unwrap();
    queue.apply_all((0..1_200).map(|_| put("job", 10)));
    assert_eq!((queue.advance(10), counts(&mut queue)), (3, (0, 1_200, 0)));
}

#[test]
fn speaks_json_as_sql_does() {
    let mut queue = Sandbox::<Queue>::new(()).unwrap();
    assert_eq!(queue.call(r#"{"put":{"body":"now"}}"#).unwrap(), r#"{"put":1}"#);
    assert_eq!(queue.ask(r#""counts""#).unwrap(), r#"{"waiting":0,"ready":1,"taken":0}"#);
}

#[test]
fn refusals_have_codes() {
    let mut queue = Sandbox::<Queue>::new(()).unwrap();
    assert_eq!(queue.apply(put(&"x".repeat((64 << 10) + 1), 0)).unwrap_err().code, 102);
    assert_eq!(queue.apply(put("x", u64::MAX)).unwrap_err().code, 103);
    assert_eq!(queue.apply(Command::Take { for_ms: 0 }).unwrap_err().code, 103);
}
