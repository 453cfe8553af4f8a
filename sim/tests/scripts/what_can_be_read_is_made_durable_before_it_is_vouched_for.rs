//! After a write that failed, a disk may show what no barrier makes durable any more and a power cut takes back. A replica that reads
//! it writes it again before it speaks (design rule 6).

use chronon::{
    env::DiskOperation,
    frame::{Frame, SECTOR_SIZE},
    process::Token,
    types::{NodeId, Op},
    vsr::Held,
};

use crate::script::Script;

/// Takes sectors of a replica's journal back, as if never written, and writes each once more, which fails: what can be read there is
/// zeros or what was written. After its recovery, whatever the replica says that it holds must be durable there.
fn what_is_held_is_durable(offset_of: impl Fn(&Script, Op) -> u64) {
    let mut script = Script::replicas(3);
    script.commit(150).converge_all();
    let victim = script.after(script.serving().expect("it serves"), 1);
    let places: Vec<(Op, u64)> = (1..=script.head(victim).0).map(|op| (Op(op), offset_of(&script, Op(op)))).collect();
    script.kill(victim);
    let now_ns = script.world.now_ns();
    let disk = script.world.disk_mut(NodeId(u32::from(victim)));
    let mut written: Vec<(u64, Vec<u8>)> = Vec::new();
    for (_, offset) in &places {
        if written.last().is_some_and(|(last, _)| last == offset) {
            continue;
        }
        let mut bytes = Vec::new();
        assert!(disk.durable_read(*offset, SECTOR_SIZE as u64, &mut bytes));
        disk.preload(*offset, &[0; SECTOR_SIZE]);
        disk.fail_next_write();
        let write = DiskOperation::Write { offset: *offset, data: Frame::new(bytes.clone()), durable: true };
        let (at_ns, operation) = disk.submit(now_ns, Token(0), write);
        disk.complete(at_ns, operation);
        assert!(!disk.durable_holds(*offset, &bytes));
        written.push((*offset, bytes));
    }
    script.recover(victim);
    let holds = |op: Op| matches!(script.vsr(victim).journal().held(op), Held::Prepare(_));
    let held: Vec<(Op, u64)> = places.into_iter().filter(|(op, _)| holds(*op)).collect();
    assert!(held.len() >= 10, "only {} prepares could be read", held.len());
    let disk = script.world.disk_mut(NodeId(u32::from(victim)));
    for (op, offset) in held {
        let (_, bytes) = written.iter().find(|(place, _)| *place == offset).expect("it was written");
        assert!(disk.durable_holds(offset, bytes), "{op} is held");
    }
    script.converge_all().cut_power(victim).recover(victim).converge_all();
    script.check();
}

#[test]
fn a_prepare_that_the_ring_names_is_written_again() {
    what_is_held_is_durable(|script, op| script.setup.layout.prepare_offset(script.setup.layout.slot(op)));
}

#[test]
fn a_sector_of_the_ring_is_written_again() {
    what_is_held_is_durable(|script, op| script.setup.layout.header_sector_offset(script.setup.layout.slot(op)));
}
