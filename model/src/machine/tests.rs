//! The models in small, and a machine that is not built in.

use super::file::MachineFile;
use super::subject::Module;
use super::{INVARIANT, check, entries};
use crate::bounds::Bounds;
use crate::report::{End, Expected, Report};

#[test]
fn all_come_to_what_they_should() {
    for entry in entries() {
        let report = (entry.check)(&entry.small);
        print!("{report}");
        report.verdict(entry.expected).unwrap();
        assert!(report.finished() || !report.refuted.is_empty(), "{}", entry.name);
    }
}

/// The example machine, as the command line would name it.
fn counter(clients: &[&str], query: &str) -> Report {
    let of_bundle = pgraft_bundle::test_modules().iter().find(|module| module.name == "counter");
    let of_bundle = of_bundle.unwrap();
    let (component, compiled) = (of_bundle.component.to_vec(), of_bundle.compiled.to_vec());
    let file = MachineFile {
        path: "counter.wasm".into(),
        name: None,
        config: String::new(),
        clients: clients.iter().map(|client| (*client).to_owned()).collect(),
        commands: None,
        invariant_query: Some(query.to_owned()),
        expect: Some("0x0000000000000000".to_owned()),
        repeats: 1,
        alone: false,
    };
    let subject = file.of(&Module::new("counter", component, compiled)).unwrap();
    let report = check("counter", subject, &Bounds::everything(0));
    print!("{report}");
    report
}

#[test]
fn any_module_can_be_a_subject() {
    // Traps and rejections inside of batches, too.
    let report = counter(&["a,!half", "!panic,0x61"], "never counted");
    report.verdict(Expected::Holds).unwrap();
    assert_eq!(report.end, End::Complete);
}

#[test]
fn canary_a_query_that_does_not_stay_the_same_is_noticed() {
    let report = counter(&["b", "a"], "a");
    report.verdict(Expected::Refuted(INVARIANT)).unwrap();
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let file = MachineFile {
        path: "/does/not/exist.wasm".into(),
        name: None,
        config: String::new(),
        clients: vec!["a".to_owned()],
        commands: None,
        invariant_query: None,
        expect: None,
        repeats: 0,
        alone: true,
    };
    assert!(file.subject().unwrap_err().contains("exist.wasm"));
    let odd = MachineFile { clients: vec!["0x123".to_owned()], ..file };
    assert!(odd.of(&Module::built_in("kv")).unwrap_err().contains("even number"));
}
