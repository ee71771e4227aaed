//! What a typed machine's clients see, and what its author has in a plain test.

use std::fmt;

use pgraft_sdk::Manifest;
use pgraft_sdk::native::serve::{Ask, Came, Hex, Sent, Server, Turn, rows_digest};
use pgraft_sdk::native::{Host, Sandbox};
use pgraft_sdk::typed::{
    Caller, Context, Error, Form, Item, MALFORMED, Machine, Outcome, Progress, Rejection, Table,
    emit, request, told, wake_at,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    Note { line: String },
    Ring { after_ms: u64 },
    Forward(String),
    Fail,
    Panic,
}

#[derive(Debug)]
enum Refused {
    AsAsked,
    Anonymous,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::AsAsked => f.write_str("as asked"),
            Refused::Anonymous => f.write_str("nobody may not write"),
        }
    }
}

impl Rejection for Refused {
    fn code(&self) -> u32 {
        match self {
            Refused::AsAsked => 101,
            Refused::Anonymous => 102,
        }
    }
}

const LINES: Table<u64, String> = Table::new(1);
const RINGS: Item<u64> = Item::new(2);

/// Schema 1.
struct Notes;

impl Machine for Notes {
    const NAME: &'static str = "notes";
    const KEYED: bool = true;
    type Config = Vec<String>;
    type Command = Command;
    type Reply = u64;
    type Query = (u64, u64);
    type Answer = Vec<String>;
    type Error = Refused;

    fn init(_ctx: &Context, lines: Vec<String>) -> Result<(), Refused> {
        lines.iter().zip(0..).for_each(|(line, number)| LINES.put(number, line));
        Ok(())
    }

    fn check(_ctx: &Context, from: &Caller, _command: &Command) -> Result<(), Refused> {
        if from.principal.is_empty() { Err(Refused::Anonymous) } else { Ok(()) }
    }

    fn apply(ctx: &Context, _from: &Caller, command: Command) -> Result<u64, Refused> {
        let next = LINES.last().map_or(0, |(number, _)| number + 1);
        match command {
            Command::Note { line } => {
                LINES.put(next, &line);
                emit("line", &line);
            }
            Command::Ring { after_ms } => wake_at(Some(ctx.time_ms + after_ms)),
            Command::Forward(line) => return Ok(request("other", &Command::Note { line })),
            Command::Fail => {
                LINES.put(next, &"never seen".to_owned());
                return Err(Refused::AsAsked);
            }
            Command::Panic => {
                LINES.put(next, &"never seen".to_owned());
                panic!("as asked");
            }
        }
        Ok(next)
    }

    fn query(_ctx: &Context, (from, to): (u64, u64)) -> Result<Vec<String>, Refused> {
        Ok(LINES.range(from..to).map(|(_, line)| line).collect())
    }

    fn wake(ctx: &Context) -> Result<(), Refused> {
        RINGS.put(&ctx.time_ms);
        Ok(())
    }

    fn effect_done(_ctx: &Context, id: u64, outcome: Outcome) -> Result<(), Refused> {
        let line = match told::<u64>(&outcome) {
            Ok(number) => format!("{id}: line {number} there"),
            Err(error) => format!("{id}: {}", error.message),
        };
        LINES.put(LINES.last().map_or(0, |(number, _)| number + 1), &line);
        Ok(())
    }

    fn command_key(command: &Command) -> Option<Vec<u8>> {
        matches!(command, Command::Ring { .. }).then(|| b"ring".to_vec())
    }

    fn invariant(_ctx: &Context) -> Result<(), String> {
        match LINES.iter().find(|(_, line)| line == "forbidden") {
            Some((number, _)) => Err(format!("line {number} is forbidden")),
            None => Ok(()),
        }
    }
}

/// Schema 2: each line with its length before it, one line per step.
struct Measured;
const MEASURED: Table<u64, (u64, String)> = Table::new(3);

impl Machine for Measured {
    const NAME: &'static str = "notes";
    const SCHEMA: u32 = 2;
    const MIGRATES_FROM: u32 = 1;
    type Config = ();
    type Command = ();
    type Reply = ();
    type Query = ();
    type Answer = Vec<(u64, String)>;
    type Error = Error;

    fn apply(_ctx: &Context, _from: &Caller, (): ()) -> Result<(), Error> {
        Ok(())
    }

    fn query(_ctx: &Context, (): ()) -> Result<Vec<(u64, String)>, Error> {
        Ok(MEASURED.iter().map(|(_, line)| line).collect())
    }

    fn migrate(_ctx: &Context, _from_schema: u32, _step: u32) -> Result<Progress, Error> {
        let Some((number, line)) = LINES.first() else { return Ok(Progress::Done) };
        LINES.delete(number);
        MEASURED.put(number, &(line.len() as u64, line));
        Ok(Progress::More)
    }
}

fn sandbox() -> Sandbox<Notes> {
    Sandbox::new(vec!["first".to_owned()]).expect("it takes any lines")
}

fn note(line: &str) -> Command {
    Command::Note { line: line.to_owned() }
}

#[test]
fn a_request_is_answered_in_its_own_form() {
    let mut sandbox = sandbox();
    assert_eq!(sandbox.apply(note("second")), Ok(1));
    assert_eq!(sandbox.call(r#"{"note":{"line":"third \u00fc"}}"#).unwrap(), "2");
    assert_eq!(sandbox.ask("[1,9]").unwrap(), r#"["second","third ü"]"#);
    assert_eq!(sandbox.query((0, 1)), Ok(vec!["first".to_owned()]));
    let events = sandbox.take_events();
    assert_eq!(events[1], (b"line".to_vec(), r#""third ü""#.as_bytes().to_vec()));
    assert_eq!(sandbox.call(r#""fail""#).unwrap_err(), Error::new(101, "as asked"));
}

#[test]
fn what_is_no_command_is_refused_with_the_place() {
    let mut sandbox = sandbox();
    let code = |told: Result<String, Error>| told.unwrap_err();
    for (bad, says) in [
        ("", "is empty"),
        ("note", "begins with 0x6e"),
        ("{\"note\":{\"line\":5}}", "invalid type"),
        ("{\"note\":{\"line\":\"a\"}} {}", "trailing characters"),
        ("{\"note\":{\"line\":\"a\",\"more\":1}}", "unknown field"),
        ("\"nothing\"", "unknown variant"),
        ("\u{1}\u{9}", "malformed"),
    ] {
        let error = code(sandbox.call(bad));
        assert_eq!(error.code, MALFORMED, "{error:?}");
        assert!(error.message.contains(says), "{bad:?}: {}", error.message);
    }
    let mut longer = Form::Compact.encode(&Command::Fail);
    longer.push(0);
    let error = sandbox.host().apply(0, &longer).unwrap_err();
    assert_eq!(error.message, "malformed: 1 bytes too many");
    assert_eq!(sandbox.host().rows().len(), 1);
}

#[test]
fn forms_have_exact_bytes() {
    assert_eq!(Form::Compact.encode(&note("ab")), [1, 0, 2, b'a', b'b']);
    assert_eq!(Form::Compact.encode(&Command::Ring { after_ms: 300 }), [1, 1, 0xac, 2]);
    assert_eq!(Form::Json.encode(&note("ab")), br#"{"note":{"line":"ab"}}"#);
    assert_eq!(Form::of(b"[").map(|form| form.decode::<Vec<u8>>(b"[1,2]")), Ok(Ok(vec![1, 2])));
}

#[test]
fn rejected_commands_undo_their_writes() {
    let mut sandbox = sandbox();
    let outcomes = sandbox.apply_all([note("a"), Command::Fail, note("b")]);
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(sandbox.query((1, 9)), Ok(vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn time_wakes_at_the_millisecond() {
    let mut sandbox = sandbox();
    sandbox.advance(10);
    sandbox.apply(Command::Ring { after_ms: 5 }).unwrap();
    assert_eq!((sandbox.next_wake(), sandbox.advance(4), sandbox.advance(90)), (Some(15), 0, 1));
    assert_eq!((sandbox.now_ms(), sandbox.next_wake(), sandbox.advance(1000)), (104, None, 0));
}

#[test]
fn commands_for_others_and_their_answers() {
    let mut sandbox = sandbox();
    let id = sandbox.apply(Command::Forward("x".to_owned())).unwrap();
    let sent = Form::Compact.encode(&note("x"));
    assert_eq!(sandbox.requests(), [(id, "other".to_owned(), sent)]);
    sandbox.effect_done(id, Ok(Form::Compact.encode(&9_u64))).unwrap();
    sandbox.effect_done(7, Err(Error::new(101, "not today"))).unwrap();
    assert_eq!(sandbox.requests(), []);
    assert_eq!(sandbox.query((1, 9)).unwrap(), ["1: line 9 there", "7: not today"]);
}

#[test]
fn checks_see_the_caller() {
    let mut sandbox = sandbox();
    assert_eq!(sandbox.check(&Command::Fail), Ok(()));
    sandbox.principal("");
    assert_eq!(sandbox.check(&Command::Fail).unwrap_err().code, 102);
}

#[test]
fn an_upgrade_migrates_in_steps() {
    let mut sandbox = sandbox();
    sandbox.apply_all([note("ab"), note("")]);
    let mut upgraded: Sandbox<Measured> = sandbox.upgrade().unwrap();
    let lines = upgraded.query(()).unwrap();
    assert_eq!(lines, [(5, "first".to_owned()), (2, "ab".to_owned()), (0, String::new())]);
}

/// Canary: a state that must not be is noticed at once.
#[test]
#[should_panic(expected = "line 1 is forbidden")]
fn canary_an_invariant_that_breaks() {
    let _ = sandbox().apply(note("forbidden"));
}

#[test]
fn a_typed_machine_is_a_machine_of_bytes() {
    use pgraft_sdk::Machine as Bytes;
    let Manifest { name, schema, keyed, .. } = <Notes as Bytes>::manifest();
    assert_eq!((name.as_str(), schema, keyed), ("notes", 1, true));
    let ring = Form::Json.encode(&Command::Ring { after_ms: 1 });
    assert_eq!(<Notes as Bytes>::command_key(&ring), Some(b"ring".to_vec()));
    assert_eq!(<Notes as Bytes>::command_key(b"?"), None);
    let mut host: Host<Notes> = Host::new();
    host.init(b"").expect("an empty configuration is the default one");
    assert_eq!(host.init(b"?").unwrap_err().code, MALFORMED);
}

/// A line in, a line out.
fn line(server: &mut Server<Notes>, ask: &str) -> String {
    let ask: Ask = serde_json::from_str(ask).expect("a line is JSON");
    serde_json::to_string(&server.answer(ask)).expect("an answer has a form in JSON")
}

#[test]
fn the_native_program_speaks_in_lines() {
    let mut server: Server<Notes> = Server::default();
    let turn = r#""turn":{"index":1,"term":1,"time_ms":50,"seed":9}"#;
    let empty = rows_digest(std::iter::empty());
    assert_eq!(empty, "6c62272e07bb014262b821756295c58d");
    let said = line(&mut server, &format!(r#"{{"call":"init",{turn},"config":""}}"#));
    let quiet = r#""events":[],"effects":[],"wake_at_ms":0"#;
    assert_eq!(said, format!(r#"{{"outcomes":[{{"ok":""}}],{quiet},"rows":"{empty}"}}"#));
    let ring = String::from(Hex(Form::Compact.encode(&Command::Ring { after_ms: 7 })));
    let commands = format!(r#""commands":[{{"payload":"{ring}"}},{{"payload":"ff"}}]"#);
    let said = line(&mut server, &format!(r#"{{"call":"apply",{turn},{commands}}}"#));
    assert!(said.starts_with(r#"{"outcomes":[{"ok":"0100"},{"error":{"code":100,"#), "{said}");
    assert!(said.contains(r#""wake_at_ms":57,"#), "{said}");
    let said = line(&mut server, r#"{"call":"describe"}"#);
    assert!(said.contains(&String::from(Hex(br#""keyed":true"#.to_vec()))), "{said}");
    assert!(serde_json::from_str::<Hex>(r#""0""#).is_err());
}

#[test]
fn a_panic_is_undone_and_the_others_go_on() {
    let mut server: Server<Notes> = Server::default();
    let turn = Turn { index: 1, term: 1, time_ms: 0, seed: 0 };
    let sent = |command: &Command| Sent {
        principal: "test".to_owned(),
        session: 0,
        seq: 0,
        payload: Hex(Form::Compact.encode(command)),
    };
    let commands = vec![sent(&note("a")), sent(&Command::Panic), sent(&note("b"))];
    let told = server.answer(Ask::Apply { turn, commands });
    let reply = |number: u64| Came::Ok(Hex(Form::Compact.encode(&number)));
    assert_eq!(told.outcomes, [reply(0), Came::Trap("as asked".to_owned()), reply(1)]);
    assert_eq!(told.events.len(), 2);
}
