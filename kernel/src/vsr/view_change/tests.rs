//! A view's log is chosen from what a quorum claims, op by op (design rule 7).

use std::{vec, vec::Vec};

use super::*;
use crate::{
    process::{Action, ProbeId},
    types::ClusterId,
    wire::members::Members,
};

use Claim::{NeverHad, Present, Unknown};

const CLUSTER: ClusterId = ClusterId(7);

/// The prepares of a view from `op` on, so many, on top of `below`.
fn prepares(view: u64, below: &Header, count: usize) -> Vec<Header> {
    let mut last = *below;
    let next = |_| {
        let header = Header::new(CLUSTER, Command::Prepare, 0, View(view));
        last = Header { op: last.op.next(), context: last.checksum.0, ..header }.sealed(&[]);
        last
    };
    (0..count).map(next).collect()
}

/// The root, which is committed, and so many ops on top of it.
fn log(view: u64, ops: usize) -> Vec<Header> {
    let root = Header::root(CLUSTER);
    let mut log = vec![root];
    log.extend(prepares(view, &root, ops));
    log
}

/// One that has this log, of `log_view`, and claims this of its last ops; of those below that they are present.
fn ballot(log_view: u64, commit: u64, log: &[Header], claims: &[Claim]) -> Ballot {
    let mut all = vec![Present; log.len() - claims.len()];
    all.extend(claims);
    let (head, members) = (log[log.len() - 1].op, Members::default());
    let body = DoViewChange { headers: log.to_vec(), claims: all, members };
    Ballot { incarnation: 1, log_view: View(log_view), head, commit: CommitIndex(commit), body }
}

/// What is chosen, and which of the two rare paths it took.
fn choose(replicas: u8, ballots: &[Ballot]) -> (Option<(CommitIndex, Vec<Header>)>, Vec<Probe>) {
    let mut actions = Actions::new();
    let chosen = decide(ballots, drop_quorum(replicas), &mut actions);
    let hit = |probe: &Probe| actions.as_slice().iter().any(|it| is_probe(it, ProbeId::from(*probe)));
    (chosen, [Probe::OpDropped, Probe::OpUndecided].into_iter().filter(hit).collect())
}

fn is_probe(action: &Action, probe: ProbeId) -> bool {
    matches!(action, Action::Probe(hit) if *hit == probe)
}

/// The head of the log that is chosen; none as long as it has to wait.
fn head(replicas: u8, ballots: &[Ballot]) -> Option<u64> {
    let (chosen, probes) = choose(replicas, ballots);
    assert_eq!(chosen.is_none(), probes == [Probe::OpUndecided]);
    chosen.map(|(_, window)| window[window.len() - 1].op.0)
}

/// Every combination of what a quorum may say of one op.
#[test]
fn an_op_that_nobody_has_is_dropped_only_if_no_commit_quorum_can_have_had_it() {
    let (log, mut seen) = (log(1, 1), 0);
    for replicas in 1..=REPLICAS_MAX {
        for voters in majority(replicas)..=replicas {
            for combination in 0..3u32.pow(voters.into()) {
                let claims: Vec<Claim> = (0..u32::from(voters))
                    .map(|voter| [Present, NeverHad, Unknown][(combination / 3u32.pow(voter) % 3) as usize])
                    .collect();
                let ballots: Vec<Ballot> = claims.iter().map(|claim| ballot(1, 0, &log, &[*claim])).collect();
                let never_had = claims.iter().filter(|claim| **claim == NeverHad).count() as u8;
                let expected = if claims.contains(&Present) {
                    Some(1)
                } else if replicas - never_had < majority(replicas) {
                    Some(0)
                } else {
                    None
                };
                assert_eq!(head(replicas, &ballots), expected, "{claims:?} of {replicas}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 3 + 9 + (9 + 27) + (27 + 81) + (27 + 81 + 243) + (81 + 243 + 729));
}

#[test]
fn with_an_op_goes_all_that_lies_above_it() {
    let log = log(1, 4);
    let both = |claims: &[Claim]| [ballot(1, 0, &log, claims), ballot(1, 0, &log, claims)];
    assert_eq!(head(3, &both(&[Present, NeverHad, Present, Present])), Some(1), "though they are there");
    assert_eq!(head(3, &both(&[Present, NeverHad, NeverHad, NeverHad])), Some(1));
    assert_eq!(head(3, &both(&[Present, NeverHad, Unknown, Unknown])), Some(1), "what goes with it need not be known");
    assert_eq!(head(3, &both(&[Present, Present, Unknown, NeverHad])), None, "one that is waited for is not passed");
    let (chosen, probes) = choose(3, &both(&[Present, NeverHad, NeverHad, NeverHad]));
    assert_eq!((chosen, probes), (Some((CommitIndex(0), log[..2].to_vec())), vec![Probe::OpDropped]));
}

/// Whoever reports it, and of whatever view its log is. It is in the new log whether or not anybody here has it.
#[test]
fn what_is_reported_as_committed_is_neither_dropped_nor_waited_for() {
    let log = log(1, 3);
    for (behind, ahead) in [(0, 2), (2, 0), (2, 2)] {
        for claims in [[NeverHad, NeverHad], [Unknown, NeverHad], [Unknown, Unknown]] {
            let says = |claim: Claim| [claim, claim, Present];
            let ballots = [ballot(2, behind, &log, &says(claims[0])), ballot(1, ahead, &log, &says(claims[1]))];
            assert_eq!(choose(3, &ballots), (Some((CommitIndex(2), log.clone())), vec![]), "{claims:?}");
        }
    }
    let above = [ballot(1, 2, &log, &[NeverHad; 3]), ballot(1, 0, &log, &[NeverHad; 3])];
    assert_eq!(head(3, &above), Some(2), "what lies above it is counted");
}

#[test]
fn the_log_is_the_longest_of_the_highest_log_view() {
    let (long, other) = (log(1, 9), log(2, 2));
    assert_eq!(choose(3, &[ballot(1, 0, &long, &[]), ballot(2, 0, &other, &[])]).0, Some((CommitIndex(0), other)));
    for order in [[4, 9], [9, 4]] {
        let ballots = order.map(|head| ballot(1, 0, &long[..=head], &[]));
        assert_eq!(choose(3, &ballots).0, Some((CommitIndex(0), long.clone())));
    }
}

/// One whose log is of an earlier view counts by what it has of the new one.
#[test]
fn an_earlier_log_has_what_is_the_same_in_it() {
    let shared = log(1, 2);
    let newer = [&shared[..], &prepares(2, &shared[2], 2)].concat();
    let older = [&shared[..], &prepares(1, &shared[2], 2)].concat();
    let newest = |claims: &[Claim]| ballot(3, 0, &newer, claims);
    let of = |mine: &[Claim], others: &[Claim]| head(3, &[newest(mine), ballot(1, 0, &older, others)]);
    assert_eq!(of(&[NeverHad, Unknown, Present, Present], &[Present; 4]), Some(4), "the first two are there");
    assert_eq!(of(&[NeverHad, Present], &[Present; 4]), Some(2), "another one in its place is not it");
    assert_eq!(of(&[Unknown, Present], &[Present; 4]), None);
    assert_eq!(of(&[NeverHad, Present], &[Unknown, Present]), None, "nor is damage, whatever was meant to be there");
    // Three of five are needed, and it is one of them: or the only one who has it.
    let two = [newest(&[NeverHad, NeverHad]), newest(&[NeverHad, NeverHad])];
    let and = |third: Ballot| head(5, &[&two[..], &[third]].concat());
    assert_eq!(and(ballot(1, 0, &older, &[])), Some(2));
    assert_eq!(and(ballot(2, 0, &newer, &[])), Some(4));
}

#[test]
fn above_a_certain_head_an_op_was_never_had_and_below_what_is_stated_nothing_is_claimed() {
    let log = log(1, 3);
    for log_view in [1, 2] {
        let short = ballot(log_view, 0, &log[..3], &[]);
        assert_eq!(head(3, &[ballot(2, 0, &log, &[NeverHad]), short]), Some(2));
    }
    let silent = ballot(1, 0, &log[3..], &[]);
    assert_eq!(head(3, &[ballot(2, 0, &log, &[Present, NeverHad, Present]), silent]), None);
}

#[test]
#[should_panic(expected = "one view has one log")]
fn two_logs_of_one_view_are_a_bug() {
    choose(3, &[ballot(1, 0, &log(1, 1), &[]), ballot(1, 0, &log(2, 1), &[])]);
}

#[test]
#[should_panic(expected = "what is committed is in the newest log")]
fn a_newest_log_without_what_is_committed_is_a_bug() {
    let log = log(1, 2);
    choose(3, &[ballot(2, 0, &log[..2], &[]), ballot(1, 2, &log, &[])]);
}
