//! What befalls a disk for good: sectors that rot, reads that find them bad, writes that are lost.

use super::{
    MS,
    steps::{Nemesis, Stray},
};
use crate::{
    disk::OperationKind,
    scenario::FaultFamily,
    schedule::{DamagePlace, Fault, Progress, Ring, Step, Target},
    world::DiskMoment,
};

impl Nemesis<'_> {
    /// Something lasting befalls the disk of the one replica whose disk may be harmed.
    pub(super) fn harm(&mut self, after: Progress, patience_ns: u64, steps: &mut Vec<Step>) {
        let replica = self.damaged.unwrap_or_else(|| {
            let ring = if self.random.chance(500_000) { Ring::Prepares } else { Ring::Headers };
            self.stray = self.random.chance(300_000).then_some(Stray { ring, struck: false });
            self.random.below(u64::from(self.replicas)) as u8
        });
        self.damaged = Some(replica);
        let mut strike = |fault: Fault| steps.push(Step { after: after.clone(), patience_ns, fault });
        match self.stray {
            None if self.random.chance(120_000) => self.superblock_rots(replica, after, steps),
            None if self.random.chance(300_000) => self.damage_in_a_young_view(replica, after, steps),
            None => {
                let fault = self.damage(replica);
                strike(fault);
                self.discover_damage(steps);
            }
            Some(Stray { ring, struck: false }) => self.write_goes_astray(replica, ring, after, steps),
            Some(Stray { ring: Ring::Prepares, .. }) => {
                let (nth, unreadable) = (self.random.below(3) as u32, self.random.chance(500_000));
                strike(Fault::Damage { replica, place: DamagePlace::Headers, nth, unreadable });
                self.discover_damage(steps);
            }
            Some(Stray { .. }) => strike(Fault::FailRead { target: Target::Replica(replica) }),
        }
    }

    /// A copy of the superblock is bad when the replica starts.
    fn superblock_rots(&mut self, replica: u8, after: Progress, steps: &mut Vec<Step>) {
        let fault = Fault::Kill { target: Target::Replica(replica), down_ns: self.random.range(10 * MS, 300 * MS) };
        steps.push(Step { after, patience_ns: 500 * MS, fault });
        let (copy, unreadable) = (self.random.below(4) as u8, self.random.chance(500_000));
        let after = Progress::Time { ns: self.random.below(5 * MS) };
        steps.push(Step { after, patience_ns: 5 * MS, fault: Fault::DamageSuperblock { replica, copy, unreadable } });
    }

    /// Half of the time a bare majority is among itself when it happens, the replica dies when it has acknowledged, or nearly,
    /// what the write was for, and the primary with it: then its own word is asked for.
    fn write_goes_astray(&mut self, replica: u8, ring: Ring, after: Progress, steps: &mut Vec<Step>) {
        self.stray = Some(Stray { ring, struck: true });
        let nth = if self.random.chance(800_000) { self.random.below(3) } else { self.random.below(60) } as u32;
        let astray = if self.random.chance(700_000) {
            Fault::MisdirectWrite { replica, ring, nth }
        } else {
            Fault::LoseWrite { replica, ring }
        };
        if self.random.chance(500_000) {
            steps.push(Step { after, patience_ns: 1_200 * MS, fault: astray });
            let after = Progress::Commits { count: self.random.range(1, 4) };
            let fault = Fault::Kill { target: Target::Replica(replica), down_ns: self.random.range(MS, 40 * MS) };
            return steps.push(Step { after, patience_ns: 100 * MS, fault });
        }
        let mut side: Vec<u8> = (0..self.replicas).filter(|other| *other != replica).collect();
        self.random.shuffle(&mut side);
        side.truncate(usize::from((self.replicas - 1) / 2));
        side.sort_unstable();
        let fault = Fault::Partition { side, for_ns: self.random.range(700 * MS, 1_500 * MS) };
        steps.push(Step { after, patience_ns: 1_200 * MS, fault });
        let after = Progress::Commits { count: self.random.range(2, 8) };
        steps.push(Step { after, patience_ns: 1_200 * MS, fault: astray });
        let at_once = Progress::Time { ns: 0 };
        let fault = Fault::KillAtDisk {
            target: Target::Replica(replica),
            operation: OperationKind::DurableWrite,
            moment: *self.random.pick(&[DiskMoment::BeforeSubmission, DiskMoment::BeforeCompletion]),
            skip: self.random.range(1, 5) as u32,
            down_ns: self.random.range(MS, 30 * MS),
        };
        steps.push(Step { after: at_once, patience_ns: 0, fault });
        let fault = Fault::Kill { target: Target::Primary, down_ns: self.random.range(700 * MS, 1_800 * MS) };
        steps.push(Step { after: Progress::Commits { count: 1 }, patience_ns: 60 * MS, fault });
    }

    /// What is lost was acknowledged soon after its view began, with the start of the view still to be heard again.
    fn damage_in_a_young_view(&mut self, replica: u8, after: Progress, steps: &mut Vec<Step>) {
        let fault = self.kill_primary_briefly();
        steps.push(Step { after, patience_ns: 500 * MS, fault });
        // The first of them commit what is left of the view before.
        let count = if self.random.chance(500_000) { self.random.range(1, 4) } else { self.random.range(3, 15) };
        let after = Progress::Commits { count };
        let unreadable = self.random.chance(400_000);
        let fault = Fault::Damage { replica, place: DamagePlace::Both, nth: 0, unreadable };
        steps.push(Step { after, patience_ns: 1_200 * MS, fault });
        self.discover_damage(steps);
    }

    /// Damage shows when it is read: often the replica restarts at once, and often a new view must then do without the primary.
    fn discover_damage(&mut self, steps: &mut Vec<Step>) {
        let at_once = |ns: u64, target: Target, down_ns: u64| {
            let (after, fault) = (Progress::Time { ns }, Fault::Kill { target, down_ns });
            Step { after, patience_ns: ns, fault }
        };
        let Some(replica) = self.damaged.filter(|_| self.random.chance(700_000)) else { return };
        steps.push(at_once(0, Target::Replica(replica), self.random.range(MS, 40 * MS)));
        if self.families.contains(&FaultFamily::Reorder) {
            // It asks what its head is, and hears what was said before it knew less.
            let after = Progress::Probe { name: "recovery_uncertain_head".to_owned(), count: 1 };
            let fault = Fault::Echo { target: Target::Replica(replica) };
            steps.push(Step { after, patience_ns: 150 * MS, fault });
        }
        match self.random.weighted(&[3, 3, 4]) {
            0 => {
                let (ns, down_ns) = (self.random.range(0, 60 * MS), self.random.range(200 * MS, 900 * MS));
                steps.push(at_once(ns, Target::Primary, down_ns));
            }
            1 => {
                // As soon as it believes to know its head again; the restarted primary ends its view before anybody mends that.
                let after = Progress::Probe { name: "view_joined".to_owned(), count: 1 };
                steps.push(Step { after, patience_ns: 60 * MS, fault: self.kill_primary_briefly() });
            }
            _ => {}
        }
    }

    fn damage(&mut self, replica: u8) -> Fault {
        if self.random.chance(300_000) {
            return self.damage_in_the_grid(replica);
        }
        if self.random.chance(150_000) {
            let ring = if self.random.chance(700_000) { Ring::Prepares } else { Ring::Headers };
            return Fault::LatentError { replica, ring };
        }
        let place = match self.random.weighted(&[4, 2, 2, 2]) {
            0 => DamagePlace::Prepare,
            1 => DamagePlace::Headers,
            2 => DamagePlace::Both,
            _ => DamagePlace::Body,
        };
        let nth = if self.random.chance(700_000) { self.random.below(4) } else { self.random.below(60) };
        Fault::Damage { replica, place, nth: nth as u32, unreadable: self.random.chance(400_000) }
    }

    /// Of one replica: the others have the same chunks, or those of a later checkpoint.
    fn damage_in_the_grid(&mut self, replica: u8) -> Fault {
        match self.random.weighted(&[6, 2, 2]) {
            0 => {
                let (nth, unreadable) = (self.random.below(12) as u32, self.random.chance(300_000));
                Fault::Damage { replica, place: DamagePlace::Chunk, nth, unreadable }
            }
            1 => Fault::LatentError { replica, ring: Ring::Chunks },
            _ => Fault::LoseWrite { replica, ring: Ring::Chunks },
        }
    }
}
