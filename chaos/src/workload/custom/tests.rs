//! Tests of templates: what they become, and what is refused.

use super::*;
use crate::seed::Seed;

fn payloads(text: &str, count: usize) -> Vec<(Vec<u8>, Option<String>, String)> {
    let mut workload = Custom::parse(text).unwrap();
    let mut chance = Seed::new(5).stream("custom");
    let next = |_| workload.next(7, &mut chance).unwrap();
    let operations: Vec<Operation> = (0..count).map(next).collect();
    operations.into_iter().map(|one| (one.payload, one.key, one.says)).collect()
}

#[test]
fn a_drawn_number_is_the_same_in_payload_key_and_words() {
    let text = r#"
        machine = "counter"
        [[operation]]
        call = "command"
        text = "name{k}"
        key = "name{k}"
        says = "count name{k} up for client {client}, the {n}th"
        draw = { k = [1, 5] }
    "#;
    let mut seen = std::collections::BTreeSet::new();
    for (place, (payload, key, says)) in payloads(text, 60).into_iter().enumerate() {
        let name = key.unwrap();
        assert_eq!(payload, name.as_bytes());
        assert_eq!(says, format!("count {name} up for client 7, the {}th", place + 1));
        seen.insert(name);
    }
    assert_eq!(seen.len(), 5);
}

#[test]
fn hex_has_digits_and_little_endian_numbers() {
    let text = r#"
        machine = "any"
        [[operation]]
        call = "query"
        hex = "01{client:u16}{n}ff{n:u64}"
    "#;
    let (payload, key, says) = payloads(text, 1).remove(0);
    assert_eq!(payload, [1, 7, 0, b'1', 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((key, says.as_str()), (None, "query 0x01070031ff0100000000000000"));
}

#[test]
fn json_numbers_are_numbers_and_the_file_may_be_json() {
    let text = r#"{"machine": "any", "operation": [{"call": "stale_query", "json":
        {"add": "{n}", "to": ["account {client}", "{random 4..4}", true, null, "{{}}"]}}]}"#;
    let (payload, _, says) = payloads(text, 1).remove(0);
    let sent: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let wanted = serde_json::json!({"add": 1, "to": ["account 7", 4, true, null, "{}"]});
    assert_eq!(sent, wanted);
    assert!(says.starts_with("stale query \"{"), "{says}");
}

#[test]
fn weights_decide_what_is_asked() {
    let text = r#"
        machine = "any"
        [[operation]]
        call = "command"
        weight = 9
        text = "often"
        [[operation]]
        call = "command"
        weight = 0
        text = "never"
        [[operation]]
        call = "query"
        text = "seldom"
    "#;
    let all = payloads(text, 500);
    let of = |word: &str| all.iter().filter(|(payload, _, _)| payload == word.as_bytes()).count();
    assert_eq!((of("never"), of("often") + of("seldom")), (0, 500));
    assert!((420..480).contains(&of("often")), "{}", of("often"));
}

#[test]
fn canary_nonsense_is_refused_by_name() {
    let told = |operation: &str| {
        let text = format!("machine = \"m\"\n[[operation]]\ncall = \"command\"\n{operation}");
        Custom::parse(&text).unwrap_err().to_string()
    };
    assert!(told("text = \"{who}\"").contains("operation 1: {who} is none of"));
    assert!(told("text = \"{random 9..1}\"").contains("{random 9..1} is none of"));
    assert!(told("text = \"a{\"").contains("{ without }"));
    assert!(told("text = \"a}\"").contains("} without {"));
    assert!(told("text = \"{n:u32}\"").contains("has a meaning in hex only"));
    assert!(told("hex = \"{n:i32}\"").contains("\"i32\" is none of"));
    assert!(told("hex = \"0g\"").contains("\"0g\" is not pairs"));
    assert!(told("hex = \"0{n}0\"").contains("\"0\" is not pairs"));
    assert!(told("").contains("needs one of text, hex and json"));
    assert!(told("text = \"a\"\nhex = \"00\"").contains("needs one of"));
    assert!(told("txt = \"a\"").contains("unknown field `txt`"));
    assert!(told("text = \"a\"\nweight = 0").contains("no operation has a weight"));
    assert!(told("text = \"a\"\ndraw = { k = [2, 1] }").contains("range [2, 1]"));
    let call = Custom::parse("machine = \"m\"\n[[operation]]\ncall = \"ask\"").unwrap_err();
    assert!(call.to_string().contains("unknown variant `ask`"), "{call}");
}
