//! Wires between replicas: each goes through here, and can be cut in either direction without an end noticing at once.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long something that was cut waits before it looks again.
const LOOK: Duration = Duration::from_millis(5);

/// From one replica to another: whether what is said arrives. What does not is not lost, but waits, as in a network that
/// sends again.
struct Wire {
    from: u8,
    to: u8,
    cut: Arc<AtomicBool>,
}

/// The wires between all replicas.
pub(crate) struct Wires {
    wires: Vec<Wire>,
    /// Who dials whom, and where to.
    dials: Vec<(u8, u8, SocketAddr)>,
    gone: Arc<AtomicBool>,
}

impl Wires {
    pub(crate) fn between(addresses: &[SocketAddr]) -> Self {
        let mut wires = Self { wires: Vec::new(), dials: Vec::new(), gone: Arc::new(AtomicBool::new(false)) };
        let replicas = addresses.len() as u8;
        // Of two replicas the later dials.
        for (later, earlier) in (0..replicas).flat_map(|later| (0..later).map(move |earlier| (later, earlier))) {
            wires.add(later, earlier, addresses[usize::from(earlier)]);
        }
        wires
    }

    fn add(&mut self, later: u8, earlier: u8, address: SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        self.dials.push((later, earlier, listener.local_addr().unwrap()));
        let cut = || Arc::new(AtomicBool::new(false));
        let (there, back, gone) = (cut(), cut(), Arc::clone(&self.gone));
        self.wires.push(Wire { from: later, to: earlier, cut: Arc::clone(&there) });
        self.wires.push(Wire { from: earlier, to: later, cut: Arc::clone(&back) });
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if gone.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(far) = TcpStream::connect(address) else { continue };
                let pair = near.try_clone().and_then(|near| Ok((near, far.try_clone()?)));
                let Ok((near_again, far_again)) = pair else { continue };
                let (there, back) = (Arc::clone(&there), Arc::clone(&back));
                let (gone, gone_again) = (Arc::clone(&gone), Arc::clone(&gone));
                std::thread::spawn(move || pass_on(near, far, &there, &gone));
                std::thread::spawn(move || pass_on(far_again, near_again, &back, &gone_again));
            }
        });
    }

    /// What a replica is to believe that the others' addresses are.
    pub(crate) fn known_by(&self, replica: u8, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let known = |other: u8| {
            let dial = self.dials.iter().find(|(later, earlier, _)| (*later, *earlier) == (replica, other));
            dial.map_or(addresses[usize::from(other)], |(_, _, address)| *address)
        };
        (0..addresses.len() as u8).map(known).collect()
    }

    /// Cuts these wires, beside those that are cut.
    fn cut(&self, which: impl Fn(&Wire) -> bool) {
        self.wires.iter().filter(|wire| which(wire)).for_each(|wire| wire.cut.store(true, Ordering::Relaxed));
    }

    /// Nobody hears a replica, and it hears nobody.
    pub(crate) fn isolate(&self, replica: u8) {
        self.cut(|wire| wire.from == replica || wire.to == replica);
    }

    /// Nobody hears a replica.
    pub(crate) fn mute(&self, replica: u8) {
        self.cut(|wire| wire.from == replica);
    }

    /// A replica hears nobody.
    pub(crate) fn deafen(&self, replica: u8) {
        self.cut(|wire| wire.to == replica);
    }

    pub(crate) fn heal(&self) {
        self.wires.iter().for_each(|wire| wire.cut.store(false, Ordering::Relaxed));
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        // Each listener is given a last connection, so that it looks.
        for (_, _, address) in &self.dials {
            let _ = TcpStream::connect(address);
        }
    }
}

/// Passes on what is said until an end closes.
fn pass_on(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool, gone: &AtomicBool) {
    let mut bytes = [0; 64 * 1024];
    let _ = to.set_nodelay(true);
    let _ = from.set_read_timeout(Some(Duration::from_millis(50)));
    while !gone.load(Ordering::Relaxed) {
        if cut.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => {
                // What was on its way when the wire was cut does not arrive either, for as long as it is.
                while cut.load(Ordering::Relaxed) && !gone.load(Ordering::Relaxed) {
                    std::thread::sleep(LOOK);
                }
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
