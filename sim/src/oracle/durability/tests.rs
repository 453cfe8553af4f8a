//! Each sentence that may be spoken of what is durable, spoken with and without it being so.

use chronon::{
    frame::Frame,
    types::Timestamp,
    wire::{
        members::Members,
        message::{DoViewChange, encode_do_view_change},
    },
};

use super::*;
use crate::oracle::{
    prepares::Prepare,
    script::{
        CLUSTER, LAYOUT, R0, R1, chain, disk, frame, prepare, prepare_of, say, say_with, store_prepare,
        store_superblock, superblock,
    },
};

/// Replica 1, which has this log, and has acknowledged nothing.
struct Scene {
    durability: Durability,
    prepares: Prepares,
    disk: SimDisk,
    log: Vec<Header>,
}

impl Scene {
    /// A log of view 1, proposed and held.
    fn new(length: u64) -> Self {
        let mut scene = Self {
            durability: Durability::new(3, LAYOUT),
            prepares: Prepares::default(),
            disk: disk(R1),
            log: chain(1, length),
        };
        for header in scene.log.clone() {
            scene.prepares.add(header.op, Prepare::new(header.checksum, header.view, frame(&header)));
            store_prepare(&mut scene.disk, &header, &frame(&header), true);
        }
        scene
    }

    fn acknowledge(&mut self, header: &Header, view: u64) -> Result<(), String> {
        let ok = say(Command::PrepareOk, R1, view, |ok| (ok.op, ok.context) = (header.op, header.checksum.0));
        let speech = Speech::of(&ok).unwrap();
        let said = self.durability.acknowledges(&mut self.prepares, R1, speech, None, &self.disk, true);
        said.map_err(|broken| broken.place)
    }

    /// Gives `log`, of `log_view`, with these claims, in view 9; so says the superblock.
    fn give(&self, log_view: u64, log: &[Header], claims: &[Claim]) -> Result<(), String> {
        self.give_with(log_view, log, claims, &superblock(R1, 5, 9, log_view, log))
    }

    fn give_with(
        &self,
        log_view: u64,
        log: &[Header],
        claims: &[Claim],
        superblock: &Superblock,
    ) -> Result<(), String> {
        let frame = do_view_change(log_view, log, claims);
        let speech = Speech::of(&frame).unwrap();
        let given = self.durability.gives_log(&self.prepares, R1, speech, superblock, &self.disk);
        given.map_err(|broken| broken.place)
    }
}

fn do_view_change(log_view: u64, log: &[Header], claims: &[Claim]) -> Frame {
    let mut body = Vec::new();
    let members = Members::default();
    encode_do_view_change(&DoViewChange { headers: log.to_vec(), claims: claims.to_vec(), members }, &mut body);
    let change = |header: &mut Header| {
        header.request.0 = log_view;
        header.op = log[log.len() - 1].op;
    };
    say_with(Command::DoViewChange, R1, 9, change, &body)
}

#[test]
fn a_prepare_that_lies_in_both_rings_may_be_acknowledged() {
    let mut scene = Scene::new(3);
    for header in scene.log.clone() {
        scene.acknowledge(&header, 1).unwrap();
        scene.acknowledge(&header, 2).unwrap();
    }
}

#[test]
fn a_prepare_without_its_header_or_its_body_or_with_another_one_is_not_durable() {
    let body = [0x5a; 5000];
    let (header, whole) = prepare_of(1, 1, Header::root(CLUSTER).checksum, &[(1, 1, 1, &body[..3000])]);
    let outcome = |store: &dyn Fn(&mut SimDisk)| {
        let mut scene = Scene::new(0);
        scene.prepares.add(header.op, Prepare::new(header.checksum, header.view, whole.clone()));
        store(&mut scene.disk);
        scene.acknowledge(&header, 1)
    };
    assert_eq!(outcome(&|disk| store_prepare(disk, &header, &whole, true)), Ok(()));
    let early = Err("acknowledged before it was durable".to_owned());
    assert_eq!(outcome(&|_| {}), early, "nothing is there");
    assert_eq!(outcome(&|disk| store_prepare(disk, &header, &whole, false)), early, "no header in the ring");
    assert_eq!(outcome(&|disk| store_prepare(disk, &header, &whole[..2000], true)), early, "half of the prepare");
    let other = Header { timestamp: Timestamp(9), ..header }.sealed(&whole[128..]);
    assert_eq!(outcome(&|disk| store_prepare(disk, &other, &whole, true)), early, "another header in the ring");
}

#[test]
fn a_write_that_completed_without_being_durable_is_not_enough() {
    let mut scene = Scene::new(0);
    let header = chain(1, 1)[0];
    scene.prepares.add(header.op, Prepare::new(header.checksum, header.view, frame(&header)));
    scene.disk.preload(LAYOUT.header_ring_offset() + 128, &ring_entry(&header.encode()));
    for durable in [false, true] {
        let data = frame(&header);
        let write = chronon::env::DiskOperation::Write { offset: LAYOUT.prepare_offset(1), data, durable };
        let (at, operation) = scene.disk.submit(0, chronon::process::Token(1), write);
        scene.disk.complete(at, operation);
        assert_eq!(scene.acknowledge(&header, 1).is_ok(), durable);
    }
}

#[test]
fn damage_to_the_medium_is_not_held_against_a_replica() {
    let mut scene = Scene::new(2);
    scene.disk.corrupt(LAYOUT.prepare_offset(2) + 100, &[1]);
    let header = scene.log[1];
    scene.acknowledge(&header, 1).unwrap();
}

#[test]
fn what_nobody_proposed_cannot_be_acknowledged() {
    let mut scene = Scene::new(1);
    let other = prepare(2, 1, scene.log[0].parent());
    assert_eq!(scene.acknowledge(&other, 2), Err("acknowledged what nobody proposed".to_owned()));
}

#[test]
fn a_superblock_is_relied_on_when_two_copies_are_durable() {
    let log = chain(1, 2);
    let (old, new) = (superblock(R1, 1, 0, 0, &[]), superblock(R1, 2, 3, 1, &log));
    for (copies, durable) in [(&[0, 1][..], true), (&[2, 3], true), (&[1, 2], true), (&[0], false), (&[], false)] {
        let (mut durability, mut disk) = (Durability::new(3, LAYOUT), disk(R1));
        store_superblock(&mut disk, &new, copies);
        assert_eq!(durability.superblock(R1, &new, &disk).is_ok(), durable, "{copies:?}");
        assert_eq!(durability.is_verified(R1, &new), durable);
        assert!(!durability.is_verified(R1, &old) && !durability.is_verified(R0, &new));
        durability.crashed(R1);
        assert!(!durability.is_verified(R1, &new), "a new life looks again");
    }
}

#[test]
fn a_damaged_copy_may_have_been_one_of_the_two() {
    let new = superblock(R1, 2, 3, 1, &chain(1, 2));
    let mut disk = disk(R1);
    store_superblock(&mut disk, &new, &[0]);
    disk.corrupt(LAYOUT.superblock_offset(1) + 70, &[1]);
    Durability::new(3, LAYOUT).superblock(R1, &new, &disk).unwrap();
}

#[test]
fn who_speaks_in_a_view_has_its_log_and_who_speaks_of_it_has_the_view() {
    let durability = Durability::new(3, LAYOUT);
    let log = chain(1, 2);
    let table =
        [(4, 4, true, true), (5, 4, true, true), (4, 3, false, true), (3, 3, false, false), (5, 5, false, true)];
    for (view, log_view, speaks_in, speaks_of) in table {
        let superblock = superblock(R1, 2, view, log_view, &log);
        let said_in = durability.speaks_in(R1, Command::Commit, View(4), Some(&superblock));
        let said_of = durability.speaks_of(R1, Command::Ping, View(4), Some(&superblock));
        assert_eq!((said_in.is_ok(), said_of.is_ok()), (speaks_in, speaks_of), "{view} {log_view}");
    }
    let silent = durability.speaks_of(R1, Command::Ping, View(0), None).unwrap_err();
    assert_eq!(silent.place, "spoke before it had recovered");
    assert!(durability.speaks_in(R1, Command::Ping, View(0), None).is_err());
}

#[test]
fn the_log_that_is_given_is_the_superblock_s() {
    let scene = Scene::new(3);
    let claims = [Claim::Present; 3];
    scene.give(1, &scene.log, &claims).unwrap();
    let another = Err("stated another log than the durable one".to_owned());
    let known = |log_view, log: &[Header]| superblock(R1, 5, 9, log_view, log);
    assert_eq!(scene.give_with(1, &scene.log, &claims, &known(0, &scene.log)), another, "another log view");
    assert_eq!(scene.give_with(1, &scene.log[..2], &claims[..2], &known(1, &scene.log)), another, "a shorter log");
    let replaced = [scene.log[0], scene.log[1], prepare(4, 3, scene.log[1].checksum)];
    assert_eq!(scene.give_with(1, &scene.log, &claims, &known(1, &replaced)), another, "another header");
    // More of the same log, further down, is as good.
    scene.give_with(1, &scene.log, &claims, &known(1, &scene.log[1..])).unwrap();
}

#[test]
fn what_is_present_is_on_the_disk() {
    let mut scene = Scene::new(2);
    let next = prepare(1, 3, scene.log[1].checksum);
    scene.prepares.add(next.op, Prepare::new(next.checksum, next.view, frame(&next)));
    scene.log.push(next);
    scene.give(1, &scene.log, &[Claim::Present, Claim::Present, Claim::NeverHad]).unwrap();
    let claimed = scene.give(1, &scene.log, &[Claim::Present; 3]);
    assert_eq!(claimed, Err("claimed as present and not durable".to_owned()));
}

#[test]
fn an_acknowledged_prepare_may_be_unknown_and_is_never_one_that_was_never_had() {
    let mut scene = Scene::new(2);
    let [first, second] = [scene.log[0], scene.log[1]];
    scene.acknowledge(&second, 1).unwrap();
    scene.durability.crashed(R1);
    scene.give(1, &[first, second], &[Claim::NeverHad, Claim::Unknown]).unwrap();
    let amnesia = scene.give(1, &[first, second], &[Claim::NeverHad; 2]);
    assert_eq!(amnesia, Err("claimed as never had and acknowledged".to_owned()));
    // Once another prepare was written over it, the other is what the slot has.
    scene.prepares.overwrite(R1, second.op, Checksum(7));
    scene.give(1, &[first, second], &[Claim::NeverHad; 2]).unwrap();
}

#[test]
fn what_was_acknowledged_in_a_view_is_in_the_log_that_is_given_of_it() {
    let mut scene = Scene::new(3);
    let (log, third) = (scene.log.clone(), scene.log[2]);
    scene.acknowledge(&third, 1).unwrap();
    let shorter = scene.give(1, &log[..2], &[Claim::Present; 2]);
    assert_eq!(shorter, Err("an acknowledged op above the stated head".to_owned()));
    // The log of a later view may be shorter, until something is acknowledged in it.
    scene.give(2, &log[..2], &[Claim::Present; 2]).unwrap();
    scene.acknowledge(&log[0], 2).unwrap();
    scene.give(2, &log[..2], &[Claim::Present; 2]).unwrap();
    scene.acknowledge(&third, 2).unwrap();
    assert!(scene.give(2, &log[..2], &[Claim::Present; 2]).is_err());
}
