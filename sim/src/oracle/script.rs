//! What the promises' tests are written with: hand-made prepares, frames, superblocks and disks.

use chronon::{
    frame::Frame,
    storage::{journal::ring_entry, layout::Layout, superblock::Superblock},
    types::{Checksum, ClientId, ClusterId, CommitIndex, Op, ReplicaId, RequestNumber, Session, Timestamp, View},
    vsr::Config,
    wire::{
        batch,
        header::{Command, Header},
    },
};

use crate::disk::{DiskSettings, SimDisk};

pub(super) const CLUSTER: ClusterId = ClusterId(77);
pub(super) const R0: ReplicaId = ReplicaId(0);
pub(super) const R1: ReplicaId = ReplicaId(1);
pub(super) const R2: ReplicaId = ReplicaId(2);
pub(super) const LAYOUT: Layout = Layout { slot_count: 32, message_size_max: 4096, block_count: 64, block_size: 4096 };

/// An empty prepare of `view`, from its primary among three.
pub(super) fn prepare(view: u64, op: u64, parent: Checksum) -> Header {
    prepare_of(view, op, parent, &[]).0
}

/// A request: client, session, number, payload.
pub(super) type Entry<'a> = (u128, u64, u64, &'a [u8]);

/// A prepare of these requests.
pub(super) fn prepare_of(view: u64, op: u64, parent: Checksum, entries: &[Entry<'_>]) -> (Header, Frame) {
    let mut body = Vec::new();
    for (client, session, request, payload) in entries {
        batch::push(&mut body, ClientId(*client), Session(*session), RequestNumber(*request), payload);
    }
    let mut header = Header::new(CLUSTER, Command::Prepare, View(view).primary(3).0, View(view));
    (header.op, header.timestamp, header.context) = (Op(op), Timestamp(op * 1000), parent.0);
    let header = header.sealed(&body);
    (header, Frame::new([&header.encode()[..], &body].concat()))
}

/// The ops from 1 to `length`, all prepared in `view`.
pub(super) fn chain(view: u64, length: u64) -> Vec<Header> {
    let mut parent = Header::root(CLUSTER).checksum;
    (1..=length)
        .map(|op| {
            let header = prepare(view, op, parent);
            parent = header.checksum;
            header
        })
        .collect()
}

/// The frame of a header without a body.
pub(super) fn frame(header: &Header) -> Frame {
    Frame::new(header.encode().to_vec())
}

/// A frame of this command in this view, to be changed before it is sealed.
pub(super) fn say(command: Command, sender: ReplicaId, view: u64, change: impl FnOnce(&mut Header)) -> Frame {
    say_with(command, sender, view, change, &[])
}

/// The same with a body.
pub(super) fn say_with(
    command: Command,
    sender: ReplicaId,
    view: u64,
    change: impl FnOnce(&mut Header),
    body: &[u8],
) -> Frame {
    let mut header = Header::new(CLUSTER, command, sender.0, View(view));
    change(&mut header);
    Frame::new([&header.sealed(body).encode()[..], body].concat())
}

/// The disk of a formatted replica.
pub(super) fn disk(replica: ReplicaId) -> SimDisk {
    let settings = DiskSettings { capacity: LAYOUT.size(), ..DiskSettings::default() };
    let mut disk = SimDisk::new(1, u32::from(replica.0), settings);
    for (offset, bytes) in Config::new(CLUSTER, replica, 3, LAYOUT).format(5) {
        disk.preload(offset, &bytes);
    }
    disk
}

/// The superblock of a replica that has this log, of `log_view`, and is in `view`.
pub(super) fn superblock(replica: ReplicaId, sequence: u64, view: u64, log_view: u64, suffix: &[Header]) -> Superblock {
    let bytes = Config::new(CLUSTER, replica, 3, LAYOUT).format(5).swap_remove(0).1;
    let formatted = Superblock::decode(&bytes, 0).expect("a formatted superblock decodes");
    let suffix = if suffix.is_empty() { formatted.suffix.clone() } else { suffix.to_vec() };
    Superblock {
        sequence,
        view: View(view),
        log_view: View(log_view),
        commit: CommitIndex(suffix[0].op.0),
        head: suffix[suffix.len() - 1].op,
        suffix,
        ..formatted
    }
}

/// Makes these copies of the superblock durable.
pub(super) fn store_superblock(disk: &mut SimDisk, superblock: &Superblock, copies: &[u8]) {
    for copy in copies {
        disk.preload(LAYOUT.superblock_offset(*copy), &superblock.encode(*copy));
    }
}

/// Makes a prepare durable, and its header if `whole`.
pub(super) fn store_prepare(disk: &mut SimDisk, header: &Header, frame: &[u8], whole: bool) {
    let slot = LAYOUT.slot(header.op);
    disk.preload(LAYOUT.prepare_offset(slot), frame);
    if whole {
        disk.preload(LAYOUT.header_ring_offset() + u64::from(slot) * 128, &ring_entry(&header.encode()));
    }
}
