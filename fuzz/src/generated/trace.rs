//! Traces of worlds to which anything was done: written, read back, damaged.

use arbitrary::{Arbitrary, Unstructured};
use chronon::types::NodeId;
use chronon_sim::{
    network::LinkSettings,
    trace::{Record, Trace, TraceBodies, TraceMode},
    world::{World, WorldSettings},
};

use crate::{seeds::Scribe, trace::differs_where_damaged};

/// How much is done to a world at most: enough for everything to meet everything, little enough to be done often.
const DEEDS_MAX: usize = 24;

/// Any world's trace is read back whole and alike; cut short or damaged it is an error, or differs where it was damaged or
/// later.
pub fn trace(bytes: &[u8]) {
    let mut source = Unstructured::new(bytes);
    let Ok((plan, cut, at, by)) = source.arbitrary::<(Plan, u32, u64, u8)>() else { return };
    let (written, digest) = plan.run();
    assert_eq!(plan.run(), (written.clone(), digest), "the same is the same again");
    let trace = Trace::parse(&written).expect("a world writes a trace");
    let header = trace.header();
    let told = (header.seed, &header.code_version, &header.scenario, &header.schedule);
    assert_eq!(told, (plan.seed, &plan.texts[0], &plan.texts[1], &plan.texts[2]));
    assert_eq!(trace.digest(), digest);
    let entries: Vec<_> = trace.records().map(|entry| entry.expect("a world writes records")).collect();
    assert!(matches!(entries.last().map(|entry| &entry.record), Some(Record::End { .. })));
    crate::trace::trace(&written);
    differs_where_damaged(&written, at, by);
    let cut = &written[..cut as usize % written.len()];
    assert!(Trace::parse(cut).is_err(), "what breaks off is not whole");
    if let Ok(trace) = Trace::unchecked(cut) {
        assert!(trace.records().last().is_none_or(|last| last.is_err()), "nor is it believed to be");
    }
}

#[derive(Arbitrary, Debug)]
struct Plan {
    seed: u64,
    whole_bodies: bool,
    texts: [String; 3],
    nodes: Vec<String>,
    deeds: Vec<Deed>,
}

/// Something that is done to a world.
#[derive(Arbitrary, Debug)]
enum Deed {
    Run { us: u16 },
    Cut { ends: (u8, u8) },
    Heal { ends: (u8, u8) },
    HealAll,
    Clog { ends: (u8, u8) },
    Unclog { ends: (u8, u8) },
    Remember { frames: u8 },
    Echo { ends: (u8, u8) },
    Pause { node: u8 },
    Resume { node: u8 },
    Kill { node: u8 },
    KillInStep { node: u8, actions: u8 },
    CutPower { node: u8 },
    Restart { node: u8 },
    Skew { node: u8, offset_ns: i32, drift_ppb: i16 },
    StepClock { node: u8, delta_ns: i64 },
    StallDisk { node: u8, us: u16 },
    FailDisk { node: u8, which: u8 },
    Links { ends: Option<(u8, u8)>, chances: [u16; 4] },
    Note { text: String },
}

impl Plan {
    fn run(&self) -> (Vec<u8>, [u8; 32]) {
        let [code_version, scenario, schedule] = self.texts.clone();
        let settings = WorldSettings {
            trace: TraceMode::Keep,
            bodies: if self.whole_bodies { TraceBodies::Bytes } else { TraceBodies::Checksum },
            code_version,
            scenario,
            schedule,
            ..WorldSettings::default()
        };
        let mut world = World::with_settings(self.seed, settings);
        let names = self.nodes.iter().take(4).cloned().chain(["last".to_owned()]);
        let nodes: Vec<NodeId> = names
            .enumerate()
            .map(|(index, name)| world.add_node(name, Scribe::talking_to(NodeId(index.saturating_sub(1) as u32))))
            .collect();
        for deed in self.deeds.iter().take(DEEDS_MAX) {
            deed.befalls(&mut world, &nodes);
        }
        world.run_for(1_000_000);
        world.finish();
        (world.trace().expect("the trace is kept"), world.digest())
    }
}

impl Deed {
    fn befalls(&self, world: &mut World, nodes: &[NodeId]) {
        let node = |index: u8| nodes[usize::from(index) % nodes.len()];
        let both = |ends: (u8, u8)| (node(ends.0), node(ends.1));
        match self {
            Self::Run { us } => world.run_for(u64::from(*us) * 1_000),
            Self::Cut { ends } => world.cut_one_way(both(*ends).0, both(*ends).1),
            Self::Heal { ends } => world.heal_one_way(both(*ends).0, both(*ends).1),
            Self::HealAll => world.heal_all(),
            Self::Clog { ends } => world.clog(both(*ends).0, both(*ends).1),
            Self::Unclog { ends } => world.unclog(both(*ends).0, both(*ends).1),
            Self::Remember { frames } => world.remember_frames(u32::from(*frames)),
            Self::Echo { ends } => world.echo(both(*ends).0, both(*ends).1),
            Self::Pause { node: index } => drop(world.pause(node(*index))),
            Self::Resume { node: index } => drop(world.resume(node(*index))),
            Self::Kill { node: index } => drop(world.kill(node(*index))),
            Self::KillInStep { node: index, actions } => world.kill_after_actions(node(*index), u32::from(*actions)),
            Self::CutPower { node: index } => drop(world.cut_power(node(*index))),
            Self::Restart { node: index } => drop(world.restart(node(*index))),
            Self::Skew { node: index, offset_ns, drift_ppb } => {
                world.skew(node(*index), i64::from(*offset_ns), i32::from(*drift_ppb));
            }
            Self::StepClock { node: index, delta_ns } => world.step_clock(node(*index), *delta_ns),
            Self::StallDisk { node: index, us } => {
                let until_ns = world.now_ns() + u64::from(*us) * 1_000;
                world.disk_mut(node(*index)).stall_until(until_ns);
            }
            Self::FailDisk { node: index, which } => {
                let disk = world.disk_mut(node(*index));
                match which % 4 {
                    0 => disk.fail_next_read(),
                    1 => disk.fail_next_write(),
                    2 => disk.fail_next_barrier(),
                    _ => disk.no_space(true),
                }
            }
            Self::Links { ends, chances } => {
                let [loss, duplication, corruption, reorder] = chances.map(|chance| u32::from(chance) * 16 % 1_000_001);
                let settings = LinkSettings {
                    loss_ppm: loss,
                    duplication_ppm: duplication,
                    corruption_ppm: corruption,
                    reorder_ppm: reorder,
                    ..LinkSettings::default()
                };
                match ends {
                    Some(ends) => world.set_link(both(*ends).0, both(*ends).1, settings),
                    None => world.set_links(settings),
                }
            }
            Self::Note { text } => world.note(text),
        }
    }
}
