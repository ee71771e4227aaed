//! basic
use crate::cluster::*;
#[test]
fn basic_put() {
    let mut cluster = Cluster::led(1, 3);
    let ticket = cluster.propose(1, b"a");
    cluster.settle();
    cluster.assert_applied(ticket);
    let read = cluster.read(1);
    cluster.settle();
    println!("{}", cluster.trace);
    assert!(matches!(cluster.answer_of(read), Some(Answer::Read(_))));
    cluster.check_logs();
}
