//! Chunks, what is done to a grid, and snapshots.

use chronon::{
    app::{
        application::{Application, ApplyContext},
        bank::{self, Bank},
        branch::Branch,
        executor::Executor,
        jobs::{self, Jobs},
        kv::{self, Kv},
        timers::Timers,
    },
    storage::{
        checkpoint::encode_tables,
        chunk::{CHUNK_HEADER_SIZE, ChunkKind},
    },
    types::{Checksum, ClientId, Op, RequestNumber, Timestamp},
    vsr::sessions::Sessions,
};

use super::{Inputs, effects, log, members};
use crate::{
    checkpoint::{CHUNK_SIZE_MAX, CLIENTS_MAX, chunk_of, framed, root, written},
    wire::CLUSTER,
};

pub(super) fn chunks() -> Inputs {
    let addresses = [Checksum(1), Checksum(2), Checksum(3)];
    let table = encode_tables(&addresses, CHUNK_SIZE_MAX).concat()[CHUNK_HEADER_SIZE..].to_vec();
    let leaf = written(&[], &sessions(), &mut Executor::new(Kv, CLUSTER)).concat();
    vec![
        ("root", chunk_of(ChunkKind::Root, &root(&log(2)[2], &addresses))),
        ("root_empty", chunk_of(ChunkKind::Root, &root(&log(1)[1], &[]))),
        ("table", chunk_of(ChunkKind::Table, &table)),
        ("leaf", chunk_of(ChunkKind::Leaf, &leaf)),
        ("zeros", vec![0; CHUNK_HEADER_SIZE]),
    ]
}

/// First what a survey finds, and then anything.
pub(super) fn grids() -> Inputs {
    vec![
        ("fill", (0..=20).map(|chunk| chunk << 3).collect()),
        ("survey", vec![4, 7, 12, 17, 8, 16, 4, 20, 21, 14, 24, 32]),
        ("churn", (0..60u8).map(|step| step.wrapping_mul(7)).collect()),
    ]
}

/// A state of each application with a bit of everything, and one without anything.
pub(super) fn snapshots() -> Inputs {
    let put = |number: u8| {
        let mut bytes = Vec::new();
        kv::Request::Put { key: &[number % 7; 20][..usize::from(number)], value: &[number; 40] }.encode(&mut bytes);
        bytes
    };
    let open = |account: u64| {
        let mut bytes = Vec::new();
        bank::Request::Open { account, deposit: account * 100 }.encode(&mut bytes);
        bytes
    };
    let mut transfer = Vec::new();
    bank::Request::Transfer { from: 1, to: 2, amount: 3 }.encode(&mut transfer);
    let accounts: Vec<_> = (0..5).map(open).chain([transfer]).collect();
    let job = |request: jobs::Request<'_>| {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        bytes
    };
    let lease = job(jobs::Request::Lease { duration_ns: 1000 });
    let requests = [
        job(jobs::Request::Enqueue { what: b"dishes" }),
        job(jobs::Request::Enqueue { what: b"" }),
        job(jobs::Request::Enqueue { what: b"windows" }),
        lease.clone(),
        lease,
        job(jobs::Request::Complete { job: 1, token: 1 }),
    ];
    vec![
        ("empty", framed(0, &written(&[], &Sessions::new(CLIENTS_MAX), &mut Executor::new(Kv, CLUSTER)))),
        ("kv", of(0, Kv, &(0..20).map(put).collect::<Vec<_>>())),
        ("bank", of(1, Bank, &accounts)),
        ("jobs", of(2, Jobs::default(), &requests)),
        ("branch", of(3, Branch::default(), &accounts)),
    ]
}

/// The snapshot of what an application is after these requests.
fn of<A: Application>(number: u8, application: A, requests: &[Vec<u8>]) -> Vec<u8> {
    let mut executor = Executor::new(application, CLUSTER);
    if number < 2 {
        let timers = Timers::new(executor.application().timers_max());
        executor.restore_effects(effects::ready(), timers);
    }
    for (op, request) in (1..).zip(requests) {
        executor.apply(request, &ApplyContext::new(Op(op), Timestamp(op), Checksum(op.into()), 0));
    }
    let mut known = Vec::new();
    members().encode(&mut known);
    framed(number, &written(&known, &sessions(), &mut executor))
}

fn sessions() -> Sessions {
    let mut sessions = Sessions::new(CLIENTS_MAX);
    for client in 1..=3 {
        sessions.register(ClientId(client << 30), Op(client as u64), Timestamp(5));
        sessions.record(ClientId(client << 30), RequestNumber(1), Op(7), Timestamp(8), b"an answer");
    }
    sessions
}
