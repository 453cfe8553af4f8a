//! What a process may rely on in its network: what arrives was sent, whole, by whom it says, to this address; a frame that
//! is sent again and again arrives; and nothing that is sent ever blocks or does harm.

use std::collections::BTreeSet;

use chronon::{env::Network, frame::Frame, types::NodeId};

use super::WAITS_MAX;

/// A network under test: at least three nodes with addresses from 0 on, nothing sent yet.
pub trait NetworkRig {
    /// How many nodes there are.
    fn nodes(&self) -> u32;

    /// The network as `node` sees it.
    fn network(&mut self, node: NodeId) -> &mut dyn Network;

    /// Lets a short time pass: long enough for a frame to move on.
    fn wait(&mut self);
}

/// Checks the contract of [`Network`], on a network where frames between any two nodes are expected to arrive.
///
/// # Panics
/// If a promise is broken; the message says which.
pub fn check_network(rig: &mut dyn NetworkRig) {
    assert!(rig.nodes() >= 3, "the suite needs three nodes");
    nothing_arrives_that_nobody_sent(rig);
    frames_of_every_size_arrive_whole(rig);
    a_broadcast_reaches_everybody(rig);
    an_unknown_address_does_no_harm(rig);
    a_flood_neither_blocks_nor_harms(rig);
}

fn nothing_arrives_that_nobody_sent(rig: &mut dyn NetworkRig) {
    for _ in 0..10 {
        rig.wait();
        for node in nodes(rig) {
            let arrived = rig.network(node).receive();
            assert!(arrived.is_none(), "{node} received {arrived:?} although nobody sent anything");
        }
    }
}

fn frames_of_every_size_arrive_whole(rig: &mut dyn NetworkRig) {
    for length in [1, 2, 127, 128, 129, 1000, 4095, 4096, 4097, 65_535, 65_536, 300_000] {
        let pairs: Vec<_> = nodes(rig).flat_map(|from| nodes(rig).map(move |to| (from, to))).collect();
        for (from, to) in pairs.into_iter().filter(|(from, to)| from != to) {
            send_until_it_arrives(rig, from, to, &pattern(length, from.0 * 16 + to.0));
        }
    }
}

fn a_broadcast_reaches_everybody(rig: &mut dyn NetworkRig) {
    let frame = pattern(5000, 200);
    let mut missing: BTreeSet<_> = nodes(rig).skip(1).collect();
    for _ in 0..WAITS_MAX {
        for to in &missing {
            rig.network(NodeId(0)).send(*to, frame.clone());
        }
        rig.wait();
        missing.retain(|to| !drain(rig, *to).contains(&(NodeId(0), frame.clone())));
        if missing.is_empty() {
            return;
        }
    }
    panic!("one frame, sent to everybody again and again, never reached {missing:?}");
}

fn an_unknown_address_does_no_harm(rig: &mut dyn NetworkRig) {
    let nobody = NodeId(rig.nodes() + 1000);
    for _ in 0..100 {
        rig.network(NodeId(0)).send(nobody, pattern(100, 1));
    }
    send_until_it_arrives(rig, NodeId(0), NodeId(1), &pattern(100, 2));
}

fn a_flood_neither_blocks_nor_harms(rig: &mut dyn NetworkRig) {
    let frames: Vec<_> = (0..4).map(|salt| pattern(2000, salt)).collect();
    for round in 0..20_000 {
        rig.network(NodeId(0)).send(NodeId(1), frames[round % frames.len()].clone());
    }
    for _ in 0..100 {
        rig.wait();
        for (_, frame) in drain(rig, NodeId(1)) {
            assert!(is_pattern(&frame), "a flood garbled a frame");
        }
    }
    send_until_it_arrives(rig, NodeId(0), NodeId(1), &pattern(100, 77));
    send_until_it_arrives(rig, NodeId(1), NodeId(0), &pattern(100, 78));
}

/// Sends a frame, at every wait again, until it arrives. Frames of earlier checks may arrive before it.
fn send_until_it_arrives(rig: &mut dyn NetworkRig, from: NodeId, to: NodeId, frame: &Frame) {
    for _ in 0..WAITS_MAX {
        rig.network(from).send(to, frame.clone());
        rig.wait();
        let arrived = drain(rig, to);
        if let Some((sender, _)) = arrived.iter().find(|(_, arrived)| arrived == frame) {
            assert!(*sender == from, "{to} received a frame of {from} as one of {sender}");
            return;
        }
        let garbled = arrived.iter().find(|(_, arrived)| !is_pattern(arrived));
        assert!(garbled.is_none(), "{to} received a frame that nobody sent: {garbled:?}");
    }
    panic!("a frame of {} bytes from {from} to {to}, sent again and again, never arrived", frame.len());
}

fn drain(rig: &mut dyn NetworkRig, node: NodeId) -> Vec<(NodeId, Frame)> {
    std::iter::from_fn(|| rig.network(node).receive()).collect()
}

fn nodes(rig: &dyn NetworkRig) -> impl Iterator<Item = NodeId> + use<> {
    (0..rig.nodes()).map(NodeId)
}

/// Bytes that follow from the first of them and from their number, so that a cut, joined or garbled frame shows.
fn pattern(length: u32, salt: u32) -> Frame {
    Frame::new((0..length).map(|place| pattern_byte(length, salt as u8, place)).collect())
}

fn is_pattern(frame: &Frame) -> bool {
    let length = frame.len() as u32;
    length > 0 && frame.iter().zip(0..).all(|(byte, place)| *byte == pattern_byte(length, frame[0], place))
}

fn pattern_byte(length: u32, salt: u8, place: u32) -> u8 {
    let bend = if place == 0 { 0 } else { length % 253 + place % 251 + place / 4096 };
    salt.wrapping_add(bend as u8)
}
