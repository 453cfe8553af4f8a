//! A replica that misses ops which no journal has any more takes the others' checkpoint in their place: chunk by chunk, whole or not
//! at all, however often it crashes meanwhile and whatever is lost on the way.

use chronon::{storage::layout::Layout, types::NodeId, wire::header::Command};
use chronon_sim::{
    disk::{DiskSettings, LatencyRange},
    workload::KvConfig,
};

use crate::script::{MS, Script, Setup, puts};

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

/// A chunk's read often takes longer than a question is left without an answer, while others come.
#[test]
fn what_comes_slowly_is_not_asked_for_twice() {
    let disk = |_| DiskSettings { read: LatencyRange::new(MS, 70 * MS), ..DiskSettings::default() };
    let mut script = Script::new(Setup { layout: LAYOUT, disk, ..Setup::default() });
    script.commit(10).converge_all();
    let primary = script.primary();
    let behind = script.after(primary, 1);
    script.isolate(behind);
    let client = script.client(KvConfig { keys: 400, ..puts(400, 1_500) });
    script.until_finished(&[client]).heal();
    script.converge_all();
    let (fetched, again) = (script.probe("chunk_fetched"), script.probe("chunk_asked_for_again"));
    assert!(script.probe("state_sync_installed") >= 1 && fetched > 20, "{fetched} fetched");
    // The root and its table come alone, and nothing says that they are on their way.
    assert!(again <= 2, "{again} of {fetched} asked for again");
    script.check();
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
