//! Schedules as they are drawn: within the budget, and the same when they are read back.

use std::collections::BTreeSet;

use super::*;
use crate::{
    schedule::{DamagePlace, Fault, Ring},
    trace::TraceMode,
    workload::{BankWorkload, JobsWorkload, KvConfig},
};

fn drawn(scenario: &str, seeds: std::ops::Range<u64>) -> impl Iterator<Item = Schedule> {
    let scenario = crate::scenario::find(scenario).expect("there is such a scenario");
    seeds.map(move |seed| draw(seed, &Options::new(scenario)))
}

/// What harms a disk for good: whose, and whether it is a write that is lost or goes astray, and to which ring.
fn harm(fault: &Fault) -> Option<(u8, Option<Ring>)> {
    match fault {
        Fault::Damage { replica, .. }
        | Fault::LatentError { replica, .. }
        | Fault::DamageSuperblock { replica, .. } => Some((*replica, None)),
        // A chunk that is lost is found by its name, whatever else is.
        Fault::LoseWrite { replica, ring: Ring::Chunks } => Some((*replica, None)),
        Fault::LoseWrite { replica, ring } | Fault::MisdirectWrite { replica, ring, .. } => {
            Some((*replica, Some(*ring)))
        }
        _ => None,
    }
}

#[test]
fn what_is_drawn_is_read_back_as_it_was_written() {
    for schedule in drawn("swarm", 0..200).chain(drawn("disk", 0..200)) {
        assert_eq!(<Schedule>::from_toml(&schedule.to_toml().expect("TOML")), Ok(schedule));
    }
    let options = Options::new(&crate::scenario::SCENARIOS[0]);
    for seed in 0..200 {
        let (bank, jobs) = (draw_for(&BankWorkload, seed, &options), draw_for(&JobsWorkload, seed, &options));
        assert_eq!(Schedule::from_toml(&bank.to_toml().expect("TOML")), Ok(bank));
        assert_eq!(Schedule::from_toml(&jobs.to_toml().expect("TOML")), Ok(jobs));
    }
}

#[test]
fn grids_have_room_for_what_the_clients_may_build_up_and_some_hardly() {
    let mut narrow = 0;
    for Schedule { cluster, workload, .. } in drawn("swarm", 0..2000) {
        let state = KvWorkload.state_size_max(&workload.each, workload.clients).expect("the store says so");
        assert!(cluster.block_count >= room::blocks_for(state), "{} blocks for {state} bytes", cluster.block_count);
        narrow += u32::from(cluster.block_count < 128);
    }
    assert!((500..700).contains(&narrow), "{narrow}");
}

#[test]
fn a_state_that_outgrows_its_grid_is_told_as_such() {
    let mut schedule = drawn("fault-free", 1..2).next().expect("there is one");
    schedule.cluster.block_count = 8;
    schedule.cluster.slot_count = 32;
    schedule.workload.each = KvConfig { keys: 40, value_size_max: 4096, ..schedule.workload.each };
    let outcome = crate::simulation::run(&schedule, TraceMode::Digest, "");
    let sentence = outcome.failure.expect("nothing is answered any more").violation;
    assert!(sentence.contains("fits the grid of r0, 8 blocks of 4096 bytes"), "{sentence}");
}

#[test]
fn a_cluster_that_nothing_befalls_does_all_that_was_to_be_done_and_few_others_do() {
    for scenario in ["swarm", "fault-free", "network"] {
        let (mut all, mut few) = (0, 0);
        for schedule in drawn(scenario, 0..400) {
            match schedule.workload.healed_calls {
                None => all += u32::from(!schedule.steps.is_empty()),
                Some(calls) => {
                    assert!(!schedule.steps.is_empty() && (2..=8).contains(&calls));
                    few += 1;
                }
            }
        }
        assert!((scenario == "fault-free" && all + few == 0) || (all > 40 && few > 200), "{scenario}: {all} {few}");
    }
}

#[test]
fn harm_befalls_one_replica_of_three_or_more_and_leaves_nobody_behind() {
    let mut kinds = BTreeSet::new();
    for schedule in drawn("disk", 0..500) {
        let harms: Vec<_> = schedule.steps.iter().filter_map(|step| Some((&step.fault, harm(&step.fault)?))).collect();
        let Some((first, (replica, stray))) = harms.first() else { continue };
        assert!(schedule.cluster.replicas > 2 && schedule.core.len() == usize::from(schedule.cluster.replicas));
        for (fault, (whose, astray)) in &harms {
            assert_eq!(whose, replica);
            kinds.insert(fault.to_string().split(' ').take(2).collect::<Vec<_>>().join(" "));
            // One write, before all else; over a lost entry nothing rots, and over a lost prepare its entry alone.
            assert_eq!(astray.is_some(), stray.is_some() && fault == first);
            let entry_alone = matches!(fault, Fault::Damage { place: DamagePlace::Headers, .. });
            assert!(stray.is_none() || fault == first || (*stray == Some(Ring::Prepares) && entry_alone), "{fault}");
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["let the", "lose the", "make copy", "make the", "put the"]);
}

#[test]
fn a_disk_is_lost_in_a_fifth_of_the_seeds_where_the_others_can_make_it_good() {
    let (mut able, mut lost) = (0, 0);
    for schedule in drawn("swarm", 0..2000) {
        able += u32::from(schedule.cluster.replicas > 2);
        let losses = schedule.steps.iter().filter(|step| matches!(step.fault, Fault::Wipe { .. })).count();
        if losses == 0 {
            continue;
        }
        lost += 1;
        assert!(schedule.cluster.replicas > 2 && schedule.core.len() == usize::from(schedule.cluster.replicas));
        assert!(schedule.steps.iter().all(|step| harm(&step.fault).is_none()), "one sort of harm is enough");
    }
    assert!((able * 15..able * 25).contains(&(lost * 100)), "{lost} of {able}");
}
