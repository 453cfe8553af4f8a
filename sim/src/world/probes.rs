//! How often each rare path was taken, by the tables that processes declare.

/// Counts by table and place in it. Nodes with equal tables share one.
#[derive(Clone, Default)]
pub(super) struct ProbeCounts {
    tables: Vec<&'static [&'static str]>,
    /// By table, then by place.
    counts: Vec<Vec<u64>>,
}

impl ProbeCounts {
    /// The number of this table.
    pub(super) fn table(&mut self, names: &'static [&'static str]) -> u32 {
        if let Some(known) = self.tables.iter().position(|known| *known == names) {
            return known as u32;
        }
        self.tables.push(names);
        self.counts.push(vec![0; names.len()]);
        self.tables.len() as u32 - 1
    }

    pub(super) fn hit(&mut self, table: u32, place: u16) {
        let count = self.counts[table as usize].get_mut(usize::from(place));
        *count.expect("a process reports only probes that it declares") += 1;
    }

    /// Each name once, with the count over all tables, in the order of first declaration.
    pub(super) fn totals(&self) -> Vec<(&'static str, u64)> {
        let mut totals: Vec<(&'static str, u64)> = Vec::new();
        for (names, counts) in self.tables.iter().zip(&self.counts) {
            for (name, count) in names.iter().zip(counts) {
                match totals.iter_mut().find(|(known, _)| known == name) {
                    Some((_, total)) => *total += count,
                    None => totals.push((name, *count)),
                }
            }
        }
        totals
    }

    /// Where a name stands in each table that has it.
    pub(super) fn places(&self, name: &str) -> Vec<(u32, u16)> {
        let place = |names: &&[&str]| names.iter().position(|known| *known == name);
        let places = (0..).zip(&self.tables).filter_map(|(table, names)| Some((table, place(names)? as u16)));
        places.collect()
    }

    pub(super) fn total_at(&self, places: &[(u32, u16)]) -> u64 {
        places.iter().map(|(table, place)| self.counts[*table as usize][usize::from(*place)]).sum()
    }

    pub(super) fn total(&self, name: &str) -> u64 {
        self.total_at(&self.places(name))
    }
}
