//! Clusters, and what is proposed for them with which reasons.

use neokv_meta::{plan::plan, rules};

use crate::support::{NOW, cluster, show};

/// Without indentation and empty lines.
fn trimmed(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

/// Compares a whole plan.
#[track_caller]
fn planned(text: &str, expected: &str) {
    let plan = plan(&cluster(text), &[], NOW);
    let mut actual: String = plan.proposals.iter().map(show).collect();
    for (region, why) in plan.left_out {
        actual += &format!("left out {region}: {why}\n");
    }
    assert_eq!(actual, trimmed(expected));
}

/// Compares what one rule found.
#[track_caller]
fn found(name: &str, text: &str, expected: &str) {
    let (_, rule) = rules::ALL.iter().find(|(known, _)| *known == name).unwrap();
    let found = rule(&cluster(text), NOW);
    let mut actual: String = found.proposals.iter().map(show).collect();
    for (region, why) in found.left_out {
        actual += &format!("left out {region}: {why}\n");
    }
    assert_eq!(actual, trimmed(expected));
}

#[test]
fn a_lost_replica_is_replaced() {
    planned(
        "settings labels=zone
         store 1 zone=a
         store 2 zone=c
         store 3 zone=d silent=31
         store 4 zone=a
         store 5 zone=b
         region 7: 1* 2 3",
        "region 7: store 3 is down for 31 s; its replica goes to store 5, the only store of zone \
           b
         > add 5, promote 5, remove 3",
    );
}

#[test]
fn the_lowest_id_decides_between_equals() {
    planned(
        "store 1
         store 2
         store 3 silent=31
         store 5
         store 4
         region 7: 1* 2 3",
        "region 7: store 3 is down for 31 s; its replica goes to store 4, the first of equal ones
         > add 4, promote 4, remove 3",
    );
}

#[test]
fn a_lost_zone_mate_is_named() {
    planned(
        "settings labels=zone
         store 1 zone=a
         store 2 zone=c
         store 3 zone=b silent=31
         store 4 zone=a
         store 5 zone=b
         region 7: 1* 2 3",
        "region 7: store 3 is down for 31 s; its replica goes to store 5, the only store of zone \
           b that can take it
         > add 5, promote 5, remove 3",
    );
}

#[test]
fn a_lost_leader_is_reported_and_left_until_there_is_another() {
    planned(
        "store 1 silent=31
         store 2
         store 3
         store 4
         region 7: 1* 2 3
         region 8: 1 2 3",
        "left out 7: its leader is lost: store 1 is down for 31 s
         left out 8: no leader is known, so nobody can change it",
    );
}

#[test]
fn a_silent_store_keeps_its_replicas_for_a_while() {
    planned(
        "store 1
         store 2
         store 3 silent=29
         store 4
         region 7: 1* 2 3",
        "",
    );
}

#[test]
fn an_unknown_store_counts_as_lost() {
    planned(
        "store 1
         store 2
         store 4
         region 7: 1* 2 9",
        "region 7: store 9 is unknown; its replica goes to store 4, the only store that can take \
           it
         > add 4, promote 4, remove 9",
    );
}

#[test]
fn no_store_fits_and_each_says_why() {
    planned(
        "store 1
         store 2
         store 3 silent=40
         store 4 used=85
         store 5 silent=12
         store 6 drain
         store 7 silent=30
         region 7: 1* 2 3
         region 8: 1* 2 6",
        "left out 7: store 3 is down for 40 s, and no store can take a replica: store 1 has one, \
           store 2 has one, store 3 has one, store 4 would be more than 85 % full, store 5 is \
           disconnected for 12 s, store 6 is draining, store 7 is down for 30 s
         left out 8: store 6 is drained, and no store can take a replica: store 1 has one, store \
           2 has one, store 3 is down for 40 s, store 4 would be more than 85 % full, store 5 is \
           disconnected for 12 s, store 6 has one, store 7 is down for 30 s",
    );
}

#[test]
fn the_fewest_voters_come_first() {
    planned(
        "settings total=2
         store 1
         store 2
         store 3
         store 4
         region 1: 1* 2
         region 2: 2* 3
         region 3: 3*",
        "region 3: 1 voter, 3 wanted; one more goes to store 4, with the fewest Regions (0)
         > add 4, promote 4
         region 1: 2 voters, 3 wanted; one more goes to store 4, with the fewest Regions (1)
         > add 4, promote 4
         left out 2: the limit is 2 operators in all",
    );
}

#[test]
fn too_many_voters_lose_the_worst() {
    planned(
        "settings labels=zone
         store 1 zone=a
         store 2 zone=b
         store 3 zone=a
         store 4 zone=c
         region 1: 1 2 3* 4",
        "region 1: 4 voters, 3 wanted; the one on store 3 goes: of all it adds the least
         > lead 1, remove 3",
    );
}

#[test]
fn a_silent_voter_is_the_worst() {
    planned(
        "store 1
         store 2 silent=15
         store 3
         store 4
         region 1: 1* 2 3 4",
        "region 1: 4 voters, 3 wanted; the one on store 2 goes: store 2 is disconnected for 15 s
         > remove 2",
    );
}

#[test]
fn a_lost_voter_goes_when_enough_others_vote() {
    planned(
        "store 1
         store 2 silent=31
         store 3
         store 4
         region 1: 1* 2 3 4",
        "region 1: store 2 is down for 31 s; its replica goes, enough others vote
         > remove 2",
    );
}

#[test]
fn a_learner_is_used_before_another_is_made() {
    planned(
        "store 1
         store 2
         store 3 silent=31
         store 4
         store 5
         region 1: 1* 2 3 5l",
        "region 1: store 3 is down for 31 s; its replica goes to store 5, which has a learner \
           already
         > promote 5, remove 3",
    );
}

#[test]
fn a_learner_that_nobody_needs_goes() {
    planned(
        "store 1
         store 2
         store 3
         store 4
         region 1: 1* 2 3 4l",
        "region 1: the learner on store 4 is not needed
         > remove 4",
    );
}

#[test]
fn a_drained_store_is_emptied() {
    planned(
        "store 1
         store 2
         store 3 drain
         store 4
         region 1: 1 2 3*
         region 2: 1* 2 3
         region 3: 1 2* 3l 4",
        "region 3: the learner on store 3 is not needed
         > remove 3
         region 1: store 3 is drained; its replica goes to store 4, the only store that can take \
           it
         > add 4, promote 4, lead 1, remove 3
         region 2: store 3 is drained; its replica goes to store 4, the only store that can take \
           it
         > add 4, promote 4, remove 3",
    );
}

#[test]
fn a_drained_store_hands_over_its_leaders_even_if_no_store_fits() {
    planned(
        "store 1
         store 2
         store 3 drain
         region 1: 1 2 3*",
        "region 1: store 3 is drained; store 1 leads, and no store can take a replica: store 1 \
           has one, store 2 has one, store 3 has one
         > lead 1",
    );
}

#[test]
fn an_only_replica_hands_over_to_its_replacement() {
    planned(
        "settings replicas=1
         store 1 drain
         store 2
         region 1: 1*",
        "region 1: store 1 is drained; its replica goes to store 2, the only store that can take \
           it
         > add 2, promote 2, lead 2, remove 1",
    );
}

#[test]
fn replicas_move_apart_when_a_zone_is_added() {
    planned(
        "settings labels=zone,rack
         store 1 zone=a rack=1
         store 2 zone=a rack=1
         store 3 zone=b rack=1
         store 4 zone=c rack=1
         region 1: 1* 2 3",
        "region 1: its replica on store 2 moves to store 4, so that fewer share a zone
         > add 4, promote 4, remove 2",
    );
}

#[test]
fn racks_matter_within_a_zone() {
    planned(
        "settings labels=zone,rack
         store 1 zone=a rack=1
         store 2 zone=a rack=1
         store 3 zone=b rack=1
         store 4 zone=a rack=2
         region 1: 1* 2 3",
        "region 1: its replica on store 2 moves to store 4, so that fewer share a rack
         > add 4, promote 4, remove 2",
    );
}

#[test]
fn leaders_are_levelled_down_to_the_tolerance() {
    planned(
        "store 1
         store 2
         store 3
         region 1: 1* 2 3
         region 2: 1* 2 3
         region 3: 1* 2 3
         region 4: 1* 2! 3
         region 5: 1* 2 3",
        "region 1: store 1 leads 5 Regions and store 2 leads 0; store 2 takes this one
         > lead 2
         region 2: store 1 leads 4 Regions and store 3 leads 0; store 3 takes this one
         > lead 3",
    );
}

#[test]
fn stores_that_shall_not_lead_hand_over() {
    planned(
        "store 1 evict
         store 2
         store 3
         region 1: 1* 2 3
         region 2: 1* 2! 3
         region 3: 1* 2! 3!",
        "region 1: store 1 shall lead nothing; store 2 leads
         > lead 2
         region 2: store 1 shall lead nothing; store 3 leads
         > lead 3
         left out 3: store 1 shall lead nothing and no other can",
    );
}

#[test]
fn a_new_store_gets_regions() {
    planned(
        "store 1
         store 2
         store 3
         store 4
         region 1: 1* 2 3
         region 2: 2* 1 3
         region 3: 3* 1 2
         region 4: 1* 2 3",
        "region 2: store 1 has 4 Regions and store 4 has 0; its replica moves to store 4
         > add 4, promote 4, remove 1
         region 1: store 2 has 4 Regions and store 4 has 1; its replica moves to store 4
         > add 4, promote 4, remove 2",
    );
}

#[test]
fn balance_does_not_put_two_replicas_into_one_zone() {
    planned(
        "settings labels=zone tolerance=1
         store 1 zone=a
         store 2 zone=b
         store 3 zone=c
         store 4 zone=c
         region 1: 1* 2 3
         region 2: 2* 1 3
         region 3: 3* 1 2",
        "region 1: store 3 has 3 Regions and store 4 has 0; its replica moves to store 4
         > add 4, promote 4, remove 3",
    );
}

#[test]
fn limits_hold_and_are_named() {
    planned(
        "settings per_store=1 total=2
         store 1
         store 2
         store 3 silent=31
         store 4
         region 1: 1* 2 3
         region 2: 2* 1 3
         region 3: 2* 1 3",
        "region 1: store 3 is down for 31 s; its replica goes to store 4, the only store that \
           can take it
         > add 4, promote 4, remove 3
         left out 2: the limit is 1 operator for store 4
         left out 3: the limit is 1 operator for store 4",
    );
}

#[test]
fn a_merging_region_and_one_without_leader_wait() {
    planned(
        "store 1
         store 2
         store 3 silent=31
         store 4
         region 1: 1* 2 3 merging
         region 2: 1 2 3",
        "left out 1: it is being merged
         left out 2: no leader is known, so nobody can change it",
    );
}

#[test]
fn placement_prefers_labels_then_regions_then_bytes_then_ids() {
    found(
        "repair",
        "settings labels=zone
         store 1 zone=a
         store 2 zone=a used=5
         store 3 zone=b used=5
         store 4 zone=b used=4
         store 5 zone=c
         store 6 zone=c
         region 1: 1* 3
         region 2: 1* 5
         region 3: 1* 3 5
         region 4: 2*
         region 5: 1* 3",
        "region 4: 1 voter, 3 wanted; one more goes to store 6, apart from the others in zone c, \
           with the fewest bytes
         > add 6, promote 6
         region 1: 2 voters, 3 wanted; one more goes to store 6, apart from the others in zone \
           c, with the fewest Regions (0)
         > add 6, promote 6
         region 2: 2 voters, 3 wanted; one more goes to store 4, apart from the others in zone \
           b, with the fewest Regions (0)
         > add 4, promote 4
         region 5: 2 voters, 3 wanted; one more goes to store 6, apart from the others in zone \
           c, with the fewest Regions (0)
         > add 6, promote 6",
    );
}

#[test]
fn of_two_voters_that_are_drained_the_leader_stays_for_now() {
    planned(
        "settings replicas=1
         store 1 drain
         store 4 drain
         region 1: 4* 1",
        "region 1: 2 voters, 1 wanted; the one on store 1 goes: store 1 is draining
         > remove 1",
    );
}
