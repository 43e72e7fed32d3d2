//! How far an operator is, seen in what its Region reports.

use std::time::Duration;

use neokv_encoding::raft::PeerRole;
use neokv_meta::{
    cluster::Region,
    operator::{Operator, Progress, Step},
    rules::Proposal,
};

use crate::support::{NOW, region};

const DEADLINE: Duration = Duration::from_secs(1060);

/// Moves the leader's replica from store 3 to store 5.
fn operator() -> Operator {
    let before = region(7, &["1", "2", "3*"]);
    let steps = vec![
        Step::AddLearner { store: 5 },
        Step::Promote { store: 5 },
        Step::TransferLeader { store: 1 },
        Step::Remove { peer: 703, store: 3 },
    ];
    let reason = "region 7: a test".to_owned();
    let proposal = Proposal { region: 7, epoch: before.descriptor.epoch, steps, reason };
    proposal.begin(&before, DEADLINE).unwrap()
}

/// The Region after so many changes of its membership.
fn seen(text: &str, changes: u64) -> Region {
    let mut region = region(7, &text.split_whitespace().collect::<Vec<_>>());
    region.descriptor.epoch.conf_ver += changes;
    region
}

fn describe(progress: Progress) -> String {
    match progress {
        Progress::Continue(step) => step.to_string(),
        Progress::Wait(why) => format!("wait: {why}"),
        Progress::Done => "done".to_owned(),
        Progress::Stale(why) => format!("stale: {why}"),
        Progress::TimedOut => "timed out".to_owned(),
    }
}

#[test]
fn steps_follow_what_the_region_shows() {
    let others = "stale: made for epoch 1-5, and somebody else has changed the peers since: ";
    for (changes, text, expected) in [
        (0, "1 2 3*", "add 5"),
        (0, "1* 2 3", "add 5"),
        (0, "1 2 3", "wait: region 7 has no leader that could take the step"),
        (1, "1 2 3* 5l!", "wait: the replica on store 5 has not caught up"),
        (1, "1 2 3* 5l", "promote 5"),
        (2, "1 2 3* 5", "lead 1"),
        (2, "1 2 3 5*", "lead 1"),
        (2, "1! 2 3* 5", "wait: the replica on store 1 has not caught up"),
        (2, "1* 2 3 5", "remove 3"),
        // Joint consensus counts twice.
        (4, "5 3 2 1*", "remove 3"),
        (3, "1* 2 5", "done"),
        (3, "1 2 5*", "done"),
        // Somebody else was there.
        (1, "1 2 3*", &format!("{others}1-6")),
        (1, "1 2 3* 4l", &format!("{others}1-6")),
        (1, "1 2", &format!("{others}1-6")),
        (2, "1 2 3* 5l 4l", &format!("{others}1-7")),
        (1, "1 2 3* 5", &format!("{others}1-6")),
    ] {
        assert_eq!(describe(operator().advance(&seen(text, changes), NOW)), expected, "{text}");
    }
}

#[test]
fn a_split_makes_an_operator_stale() {
    let mut split = seen("1 2 3*", 0);
    split.descriptor.epoch.version = 2;
    assert_eq!(
        describe(operator().advance(&split, NOW)),
        "stale: made for epoch 1-5, and the slots have changed since: 2-5"
    );
}

#[test]
fn another_peer_on_the_same_store_is_not_taken_for_the_old_one() {
    let mut changed = seen("1* 2 3 5", 2);
    changed.descriptor.peers[2].id = 999;
    let progress = operator().advance(&changed, NOW);
    assert!(matches!(progress, Progress::Stale(_)), "{progress:?}");
}

#[test]
fn a_deadline_ends_what_is_not_done() {
    let advance = |region: &Region, now| describe(operator().advance(region, now));
    let just_before = DEADLINE - Duration::from_millis(1);
    assert_eq!(advance(&seen("1 2 3*", 0), just_before), "add 5");
    assert_eq!(advance(&seen("1 2 3*", 0), DEADLINE), "timed out");
    assert_eq!(advance(&seen("1* 2 5", 3), DEADLINE), "done");
}

#[test]
fn a_leader_is_never_removed() {
    let mut operator = operator();
    operator.steps.remove(2);
    let after_promotion = seen("1 2 3* 5", 2);
    assert_eq!(
        describe(operator.advance(&after_promotion, NOW)),
        "stale: store 3 leads region 7 now, so its replica stays"
    );
}

#[test]
fn a_proposal_begins_only_in_the_shape_that_it_was_made_for() {
    let before = seen("1 2 3*", 0);
    let (epoch, reason) = (before.descriptor.epoch, String::new());
    let steps = vec![Step::TransferLeader { store: 1 }];
    let proposal = Proposal { region: 7, epoch, steps, reason };
    let operator = proposal.begin(&before, DEADLINE).unwrap();
    assert_eq!(describe(operator.advance(&before, NOW)), "lead 1");
    assert_eq!(describe(operator.advance(&seen("1* 2 3", 0), NOW)), "done");
    assert_eq!(proposal.begin(&seen("1 2 3*", 1), DEADLINE), None);
}

#[test]
fn steps_that_do_not_fit_change_nothing() {
    let peers = || region(7, &["1*", "2", "3l"]).descriptor.peers;
    let after = |step: Step| {
        let mut peers = peers();
        step.apply(&mut peers).map(|()| peers)
    };
    assert_eq!(after(Step::AddLearner { store: 2 }), None);
    assert_eq!(after(Step::Promote { store: 4 }), None);
    assert_eq!(after(Step::Remove { peer: 704, store: 4 }), None);
    assert_eq!(after(Step::TransferLeader { store: 2 }), Some(peers()));
    assert_eq!(after(Step::Promote { store: 3 }).unwrap()[2].role, PeerRole::Voter);
}
