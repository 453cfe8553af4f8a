//! The CPU time of processes of this machine, as /proc tells it.

/// What /proc counts in: a tick is a hundredth of a second, on every machine that Linux runs on today.
const US_PER_TICK: u64 = 10_000;

/// Where the two counts stand behind the name: time in the process, and in the system for it.
const USER: usize = 11;
const SYSTEM: usize = 12;

/// What was used so far, over all of them.
pub(crate) struct Usage {
    us: u64,
}

impl Usage {
    pub(crate) fn of(processes: &[u32]) -> Result<Self, String> {
        processes.iter().try_fold(0, |us, process| Ok(us + us_of(&process.to_string())?)).map(|us| Self { us })
    }

    pub(crate) fn own() -> Result<Self, String> {
        us_of("self").map(|us| Self { us })
    }

    pub(crate) fn us_since(&self, before: &Self) -> u64 {
        self.us.saturating_sub(before.us)
    }
}

fn us_of(process: &str) -> Result<u64, String> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}: is that process running?"))?;
    ticks(&text).map(|ticks| ticks * US_PER_TICK).ok_or_else(|| format!("{path} does not tell CPU time"))
}

/// The name is in parentheses, and may have any in it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_ascii_whitespace().collect();
    let count = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(count(USER)? + count(SYSTEM)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_the_process_and_in_the_system_are_added() {
        let stat = "12 (etcd (a) 1) S 1 12 12 0 -1 4194560 1 0 0 0 730 270 5 6 20 0 9 0 100 0 0";
        assert_eq!(ticks(stat), Some(1_000));
        assert_eq!(ticks("12 (etcd) S 1"), None);
    }
}
