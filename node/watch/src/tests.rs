//! What `tokio::sync::watch` promises, and the order that it does not.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::{LocalSet, spawn_local, yield_now};

use super::*;

#[tokio::test]
async fn changes_are_told_once_and_the_end_after_the_last() {
    let (sender, mut receiver) = channel(1);
    assert_eq!(*receiver.borrow(), 1);
    assert_eq!(sender.send_replace(2), 1);
    let mut other = receiver.clone();
    receiver.changed().await.unwrap();
    assert_eq!(*receiver.borrow_and_update(), 2);
    assert!(!sender.send_if_modified(|_| false));
    sender.send_modify(|value| *value += 1);
    other.wait_for(|value| *value == 3).await.unwrap();
    drop(sender);
    receiver.changed().await.unwrap();
    assert_eq!(receiver.changed().await, Err(Closed));
    assert!(other.wait_for(|value| *value == 3).await.is_ok());
    assert!(other.wait_for(|value| *value == 4).await.is_err());
}

/// The order is the one of waiting, over and over: tokio's own is another each time.
#[tokio::test(flavor = "current_thread")]
async fn whoever_waits_first_is_woken_first() {
    let local = LocalSet::new();
    let story = async {
        for _ in 0..20 {
            let sender = Sender::new(0);
            let woken = Rc::new(RefCell::new(Vec::new()));
            for number in 0..20 {
                let (mut receiver, woken) = (sender.subscribe(), Rc::clone(&woken));
                spawn_local(async move {
                    receiver.wait_for(|value| *value > 0).await.unwrap();
                    woken.borrow_mut().push(number);
                });
            }
            yield_now().await;
            sender.send_replace(1);
            yield_now().await;
            assert_eq!(*woken.borrow(), (0..20).collect::<Vec<u32>>());
        }
    };
    local.run_until(story).await;
}
