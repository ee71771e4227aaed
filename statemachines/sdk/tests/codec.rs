//! The primitives at their limits.

use pgraft_sdk::codec::{Reader, Writer};

#[test]
fn numbers_at_their_limits_come_back() {
    for number in [0, 1, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX] {
        let mut writer = Writer::default();
        writer.u64(number).i64(number as i64).u128(u128::from(number) << 64);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u64("number"), Ok(number));
        assert_eq!(reader.i64("number"), Ok(number as i64));
        assert_eq!(reader.u128("number"), Ok(u128::from(number) << 64));
        assert_eq!(reader.end(), Ok(()));
    }
}

#[test]
fn only_the_shortest_form_is_read() {
    let read = |bytes: &[u8]| Reader::new(bytes).u64("number").ok();
    assert_eq!(read(&[0]), Some(0));
    assert_eq!(read(&[0x80, 0]), None);
    assert_eq!(read(&[0x80]), None);
    let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert_eq!(read(&longest), Some(u64::MAX));
    let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
    assert_eq!(read(&beyond), None);
    assert_eq!(read(&[0xff; 11]), None);
}

#[test]
fn what_is_claimed_must_be_there() {
    assert!(Reader::new(&[3, 1, 2]).bytes("bytes").is_err());
    assert!(Reader::new(&[2, 0xc3, 0x28]).text("text").is_err());
    assert!(Reader::new(&[2]).bool("flag").is_err());
    assert!(Reader::new(&[9, 1, 1]).list("items", |reader| reader.u8("item")).is_err());
    assert!(Reader::new(&[1]).option("item", |reader| reader.u8("item")).is_err());
    assert!(Reader::new(&[1]).end().is_err());
}

#[test]
fn errors_say_what_and_where() {
    let error = Reader::new(&[7, 7]).error("a key");
    assert_eq!(error.to_string(), "malformed bytes: expected a key, 2 bytes before the end");
}
