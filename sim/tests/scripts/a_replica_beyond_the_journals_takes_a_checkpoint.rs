//! A replica that misses ops which no journal has any more takes the others' checkpoint in their place: chunk by chunk, whole or not
//! at all, however often it crashes meanwhile and whatever is lost on the way.

use chronon::{
    storage::layout::Layout,
    types::{NodeId, Op},
    wire::header::Command,
};
use chronon_sim::{
    disk::{DiskSettings, LatencyRange},
    workload::KvConfig,
};

use crate::{
    chunks,
    script::{MS, PATIENCE_MS, Script, Setup, puts},
};

const LAYOUT: Layout = Layout { slot_count: 64, message_size_max: 32 * 1024, block_count: 128, block_size: 4096 };

/// One backup was cut off for longer than a journal goes, and hears the others again.
fn left_behind() -> (Script, u8) {
    let mut script = Script::new(Setup { layout: LAYOUT, ..Setup::default() });
    script.commit(10).converge_all();
    let primary = script.primary();
    let behind = script.after(primary, 1);
    script.isolate(behind);
    let other = script.after(primary, 2);
    script.commit(150).converge(&[primary, other]);
    script.heal();
    (script, behind)
}

#[test]
fn it_catches_up_by_a_checkpoint() {
    let (mut script, _) = left_behind();
    script.converge_all();
    assert_eq!((script.probe("state_sync_installed"), script.probe("state_restored")), (1, 1));
    script.commit(80).converge_all();
    script.check();
}

#[test]
fn the_power_goes_at_any_moment_of_it() {
    let (mut script, behind) = left_behind();
    script.until("it fetches a checkpoint", 5_000, |script| script.vsr(behind).checkpoints().is_syncing());
    let (mut moments, mut resumed) = (0, 0);
    while script.probe("state_restored") == 0 {
        let mut crashed = script.fork();
        let fetched = crashed.probe("chunk_fetched");
        crashed.cut_power(behind).recover(behind).converge_all();
        resumed += u32::from(crashed.probe("chunk_fetched") > fetched && crashed.probe("state_sync_installed") == 1);
        crashed.commit(5).converge_all();
        crashed.check();
        // Most events are the others'.
        let at_ns = script.world.now_ns();
        while script.world.now_ns() < at_ns + MS / 8 {
            assert!(script.world.step());
        }
        moments += 1;
    }
    assert!(moments > 10 && resumed > 5, "{moments} moments, {resumed} of them before it was whole");
    script.converge_all();
    script.check();
}

#[test]
fn a_lost_question_or_answer_is_repeated() {
    for command in [Command::RequestChunk, Command::Chunk] {
        let (mut script, _) = left_behind();
        let said = |script: &Script| {
            let mut said = script.minutes().said().iter();
            said.find(|said| said.header.command == command).map(|said| (said.from, said.to))
        };
        script.until("it is said", 5_000, |script| said(script).is_some());
        let (from, to): (NodeId, NodeId) = said(&script).expect("it was waited for");
        script.world.cut_one_way(from, to);
        script.run_ms(3);
        script.world.heal_one_way(from, to);
        script.converge_all();
        assert!(script.probe("chunk_asked_for_again") > 0 && script.probe("state_sync_installed") == 1);
        script.check();
    }
}

/// A backup that was away while all of a large state was written, and hears the others again.
fn one_that_missed_a_large_state(disk: fn(u8) -> DiskSettings, layout: Layout) -> (Script, u8) {
    let mut script = Script::new(Setup { layout, disk, ..Setup::default() });
    script.commit(10).converge_all();
    let primary = script.primary();
    let behind = script.after(primary, 1);
    script.isolate(behind);
    let client = script.client(KvConfig { keys: 400, ..puts(400, 1_500) });
    script.until_finished(&[client]).heal();
    (script, behind)
}

/// A chunk's read often takes longer than a question is left without an answer, while others come.
#[test]
fn what_comes_slowly_is_not_asked_for_twice() {
    let disk = |_| DiskSettings { read: LatencyRange::new(MS, 70 * MS), ..DiskSettings::default() };
    let (mut script, _) = one_that_missed_a_large_state(disk, LAYOUT);
    script.converge_all();
    let (fetched, again) = (script.probe("chunk_fetched"), script.probe("chunk_asked_for_again"));
    assert!(script.probe("state_sync_installed") >= 1 && fetched > 20, "{fetched} fetched");
    // The root and its table come alone, and nothing says that they are on their way.
    assert!(again <= 2, "{again} of {fetched} asked for again");
    script.check();
}

/// A chunk's read takes a quarter of a second, or more than any chunk is waited for at first, and the others go on meanwhile, from one
/// checkpoint to the next.
#[test]
fn what_comes_slowly_is_not_given_up_for_what_is_newer() {
    fn reads_in(ns: u64) -> DiskSettings {
        DiskSettings { read: LatencyRange::new(ns, ns), ..DiskSettings::default() }
    }
    let disks: [fn(u8) -> DiskSettings; 2] = [|_| reads_in(250 * MS), |_| reads_in(1_500 * MS)];
    for (disk, limit_ms) in disks.into_iter().zip([10_000, 40_000]) {
        let mut script = Script::new(Setup { layout: LAYOUT, disk, ..Setup::default() });
        script.until("they have started", 20_000, |script| script.serving().is_some()).commit(10).converge_all();
        let primary = script.primary();
        let behind = script.after(primary, 1);
        script.isolate(behind).commit(150);
        script.client(KvConfig { think_ns_max: 10 * MS, ..puts(u64::MAX, 256) });
        script.heal();
        let is_installed = |script: &Script| script.probe("state_sync_installed") > 0;
        script.until("it has a checkpoint", limit_ms, is_installed);
        let given_up = script.probe("state_sync_retargeted");
        assert!(given_up <= 2, "{given_up} were given up");
        script.check();
    }
}

/// Nobody has the checkpoint any more that is being fetched. What came of it is there for the next, whatever the superblock says before it
/// is known what that one reaches.
#[test]
fn what_came_of_one_that_was_given_up_serves_the_next() {
    let disk = |_| DiskSettings { read: LatencyRange::new(200 * MS, 200 * MS), ..DiskSettings::default() };
    let (mut script, behind) = one_that_missed_a_large_state(disk, Layout { block_count: 512, ..LAYOUT });
    script.until("most of it has come", PATIENCE_MS, |script| script.probe("chunk_fetched") > 80).isolate(behind);
    script.commit(100).run_ms(3_000).commit(60).heal();
    script.until("it is given up", PATIENCE_MS, |script| script.probe("state_sync_retargeted") > 0);
    // Another view has it write its superblock.
    let (fetched, primary) = (script.probe("chunk_fetched"), script.primary());
    let (other, view) =
        (script.after(behind, if primary == script.after(behind, 1) { 2 } else { 1 }), script.vsr(behind).view());
    script.kill(primary).converge(&[behind, other]);
    let then = script.probe("chunk_fetched") - fetched;
    assert!(script.vsr(behind).view() > view && script.probe("state_sync_installed") == 1);
    assert!(then < 60, "{then} came after the {fetched} that had come");
    script.restart(primary).converge_all();
    script.check();
}

/// Two fetch, one after the other, each what is the latest checkpoint then, and the others go on meanwhile, from one to the next: they keep
/// what each of the two lacks.
#[test]
fn what_two_of_them_fetch_is_kept_for_both() {
    let layout = Layout { block_count: 512, ..LAYOUT };
    let mut script = Script::new(Setup { replicas: 5, layout, ..Setup::default() });
    script.commit(10).converge_all();
    let primary = script.primary();
    let [first, second, third, fourth] = [1, 2, 3, 4].map(|which| script.after(primary, which));
    script.isolate(first).isolate(second);
    let large = |calls| KvConfig { keys: 400, ..puts(calls, 1_500) };
    let client = script.client(large(400));
    script.until_finished(&[client]).client(KvConfig { think_ns_max: 20 * MS, ..large(u64::MAX) });
    let have = |script: &Script, op: Op| {
        [primary, third, fourth].iter().all(|replica| script.vsr(*replica).checkpoints().vouched().op >= op)
    };
    let fetched = [first, second].map(|behind| {
        for other in [primary, third, fourth] {
            script.world.heal(NodeId(behind.into()), NodeId(other.into()));
        }
        script.until("it fetches a checkpoint", 5_000, |script| script.vsr(behind).checkpoints().is_syncing());
        // It asks for a part of the chunks, and for the others when it has written these.
        script.stall_disk(behind, 1_500);
        let vouched = script.vsr(behind).checkpoints().vouched();
        script.until("the others have the next", 1_000, |script| have(script, Op(vouched.op.0 + 24)));
        vouched
    });
    assert!(fetched[0].op < fetched[1].op);
    assert!([first, second].iter().all(|behind| script.vsr(*behind).checkpoints().is_syncing()));
    script.until("they have two more", 1_000, |script| have(script, Op(fetched[1].op.0 + 72)));
    for replica in [primary, third, fourth] {
        let (vsr, disk) = (script.vsr(replica), script.world.disk(NodeId(replica.into())));
        let is_kept = fetched.map(|vouched| chunks::is_whole(vsr, disk, vouched.root));
        assert_eq!(is_kept, [true, true], "r{replica}");
    }
    script.until("both have one", PATIENCE_MS, |script| script.probe("state_sync_installed") >= 2);
    assert_eq!(script.probe("state_sync_retargeted"), 0);
    script.check();
}

/// A checkpoint of its own is on its way to a disk that has stalled, and takes up the room: what is fetched waits in memory for a block.
#[test]
fn what_finds_no_block_waits_for_one() {
    let layout = Layout { block_count: 20, ..LAYOUT };
    let mut script = Script::new(Setup { layout, ..Setup::default() });
    let primary = script.primary();
    let behind = script.after(primary, 1);
    let other = script.after(primary, 2);
    let large = |calls| KvConfig { keys: 14, ..puts(calls, 1_500) };
    let client = script.client(large(60));
    let takes_another = |script: &Script| {
        let checkpoints = script.vsr(behind).checkpoints();
        checkpoints.op() >= Op(24) && checkpoints.is_taking()
    };
    script.until("it takes another checkpoint", PATIENCE_MS, takes_another);
    script.stall_disk(behind, 3_000).isolate(behind);
    script.until_finished(&[client]);
    let client = script.client(large(150));
    script.until_finished(&[client]).converge(&[primary, other]);
    script.heal();
    let has_no_room = |script: &Script| {
        let checkpoints = script.vsr(behind).checkpoints();
        let is_full = checkpoints.blocks_used() == layout.block_count as usize;
        checkpoints.is_syncing() && is_full && script.probe("chunk_fetched") > 8
    };
    script.until("what it fetches finds no room", 1_000, has_no_room);
    script.converge_all();
    assert_eq!(script.probe("state_sync_installed"), 1);
    let searched = script.vsr(behind).checkpoints().searches();
    assert!(searched <= 12, "the grid was searched {searched} times");
    script.commit(80).converge_all();
    script.check();
}

/// After a write or a barrier that failed, what can be read of a fetched chunk need not be what lasts, whatever a later barrier says.
#[test]
fn what_a_failure_has_left_of_it_is_written_again() {
    let (mut script, behind) = left_behind();
    script.until("it fetches a checkpoint", 5_000, |script| script.vsr(behind).checkpoints().is_syncing());
    let node = NodeId(u32::from(behind));
    let (mut failures, mut resumed) = (0, 0);
    while script.probe("state_sync_installed") == 0 {
        for is_barrier in [false, true] {
            let mut failing = script.fork();
            let disk = failing.world.disk_mut(node);
            if is_barrier {
                disk.fail_next_barrier()
            } else {
                disk.fail_next_write()
            }
            failing.until("it stops", PATIENCE_MS, |script| !script.is_up(behind));
            let fetched = failing.probe("chunk_fetched");
            failing.recover(behind).converge_all();
            let again = failing.probe("chunk_fetched") - fetched;
            resumed += u32::from(again < 3 && failing.probe("state_sync_installed") == 1);
            failing.check();
            failures += 1;
        }
        let at_ns = script.world.now_ns();
        while script.world.now_ns() < at_ns + MS / 8 {
            assert!(script.world.step());
        }
    }
    assert!(failures > 10 && resumed > 2, "{failures}, {resumed} of them with chunks that were there");
}

/// Who has nothing but the checkpoint that a majority once had can be asked for it, also when the others of that majority are gone.
#[test]
fn one_of_those_who_have_it_is_enough() {
    let (mut script, behind) = left_behind();
    let primary = script.primary();
    let other = script.after(behind, 1);
    script.kill(primary).converge(&[behind, other]);
    assert_eq!(script.probe("state_sync_installed"), 1);
    script.restart(primary).converge_all();
    script.check();
}

/// An op is missing that nobody has any more, and those that follow it were read to be executed when it comes.
#[test]
fn what_was_read_to_be_executed_is_let_go_with_what_takes_its_place() {
    // The ops from one checkpoint to the next are more than a replica keeps in memory.
    let layout = Layout { slot_count: 256, ..LAYOUT };
    let mut script = Script::new(Setup { layout, ..Setup::default() });
    script.commit(230).converge_all();
    let primary = script.primary();
    let behind = script.after(primary, 1);
    let others = [primary, script.after(primary, 2)];
    let read = |script: &Script| {
        let queues = script.vsr(behind).queues();
        queues.into_iter().find(|(name, ..)| *name == "prepares read to be executed").expect("is watched").1
    };
    let missing = script.vsr(behind).checkpoints().op().next().next();
    script.cut_power(behind).commit(100).converge(&others);
    assert!(others.iter().all(|other| script.vsr(*other).checkpoints().op() > missing));
    for replica in [behind, others[0], others[1]] {
        script.corrupt_prepare(replica, missing);
    }
    script.recover(behind);
    script.until("it has read what follows", PATIENCE_MS, |script| read(script) > 10);
    script.until("it has a checkpoint", PATIENCE_MS, |script| script.probe("state_restored") > 1);
    assert_eq!((script.probe("state_sync_installed"), script.vsr(behind).applied() > missing), (1, true));
    assert_eq!(read(&script), 0, "it is executed");
    script.commit(200).converge_all();
    script.check();
}
