//! How many files and sockets this process may have open at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a replica has open beside its connections, and to spare: its data file, rings and wake-ups, and what metrics and sinks connect.
const OTHERS: u64 = 128;

/// Raises what the process may have open as far as it may without privileges. How many connections there is room for then, `wanted` at
/// most; if that is fewer, the log says so. Several replicas of one process have this room together.
pub(crate) fn room_for(wanted: usize) -> usize {
    let limit = raise();
    let room = share(limit, wanted);
    if let Some(limit) = limit.filter(|_| room < wanted) {
        tracing::warn!(
            "this process may have {limit} files open, so that there is room for {room} connections and not for {wanted}: raise the hard \
             limit to {} (`ulimit -Hn`, or LimitNOFILE= of its service)",
            wanted as u64 + OTHERS
        );
    }
    room
}

/// The limit as it is then: none if there is none.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    // A system that refuses what it promised leaves what there was.
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// How many connections a limit leaves room for. Where it is so low that hardly anything is left, half of it.
fn share(limit: Option<u64>, wanted: usize) -> usize {
    let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(OTHERS).max(limit / 2));
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_leaves_room_for_what_is_no_connection() {
        let limits = [None, Some(1 << 20), Some(4096 + OTHERS), Some(1024), Some(64), Some(0)];
        assert_eq!(limits.map(|limit| share(limit, 4096)), [4096, 4096, 4096, 896, 32, 0]);
    }
}
