//! A service outside: it does what it is told over HTTP, in good manners or bad ones, and remembers every call.
//!
//! It does nothing twice under one idempotency key, and nothing under a fencing token lower than the highest of the channel. A call
//! without a key it cannot tell from another.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// How a call is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// It is done and said to be.
    Well,
    /// It is done, and nothing is said before the other end has given up.
    Mute,
    /// It is done when the other end has given up.
    Late,
    /// The connection breaks before it is done.
    BreaksBefore,
    /// The connection breaks after it was done.
    BreaksAfter,
    /// The status; whether it was done all the same.
    Fails(u16, bool),
    /// Nothing is done or said until the manners change; then it is.
    Hangs,
}

/// A call, as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) channel: u32,
    pub(crate) key: Option<String>,
    pub(crate) token: String,
    pub(crate) body: String,
}

type Manners = Box<dyn Fn(u64, &Call) -> Manner + Send>;

struct State {
    manners: Manners,
    calls: u64,
    /// What was done, in order.
    done: Vec<Call>,
    keys: BTreeSet<String>,
    highest: BTreeMap<u32, String>,
    fenced: u64,
}

/// The service. It ends with the test.
#[derive(Clone)]
pub(crate) struct Service {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Service {
    /// One that answers its calls, counted from 0, in these manners.
    pub(crate) fn start(manners: impl Fn(u64, &Call) -> Manner + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (keys, highest) = (BTreeSet::new(), BTreeMap::new());
        let state = State { manners: Box::new(manners), calls: 0, done: Vec::new(), keys, highest, fenced: 0 };
        let service = Self { address: listener.local_addr().unwrap(), state: Arc::new(Mutex::new(state)) };
        let serving = service.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let service = serving.clone();
                // Who went away in the middle said nothing.
                std::thread::spawn(move || service.serve(stream).is_some());
            }
        });
        service
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/letters", self.address)
    }

    pub(crate) fn behave(&self, manners: impl Fn(u64, &Call) -> Manner + Send + 'static) {
        self.lock().manners = Box::new(manners);
    }

    /// What was done, in order.
    pub(crate) fn done(&self) -> Vec<Call> {
        self.lock().done.clone()
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Each of these bodies was done once and nothing else, and what was done in one channel in the order of the ids.
    pub(crate) fn judge(&self, bodies: &[String]) {
        let done = self.done();
        let mut found: Vec<&str> = done.iter().map(|call| call.body.as_str()).collect();
        let mut expected: Vec<&str> = bodies.iter().map(String::as_str).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "each once");
        let channels: BTreeSet<u32> = done.iter().map(|call| call.channel).collect();
        for channel in channels {
            let keys: Vec<_> = done.iter().filter(|call| call.channel == channel).map(|call| &call.key).collect();
            assert!(keys.is_sorted(), "channel {channel} keeps its order: {keys:?}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let call = read(&mut reader)?;
        let mut manner = {
            let mut state = self.lock();
            state.calls += 1;
            (state.manners)(state.calls - 1, &call)
        };
        let began = Instant::now();
        while manner == Manner::Hangs {
            std::thread::sleep(Duration::from_millis(5));
            assert!(began.elapsed() < Duration::from_secs(120), "a test lets it go on");
            let state = self.lock();
            manner = (state.manners)(state.calls, &call);
        }
        let gone = |reader: &mut BufReader<TcpStream>| reader.read(&mut [0]).ok();
        let status = match manner {
            Manner::Hangs | Manner::Well => self.perform(call),
            Manner::Mute => {
                self.perform(call);
                gone(&mut reader)?;
                return None;
            }
            Manner::Late => {
                gone(&mut reader)?;
                self.perform(call);
                return None;
            }
            Manner::BreaksBefore => return None,
            Manner::BreaksAfter => {
                self.perform(call);
                return None;
            }
            Manner::Fails(status, done) => {
                if done {
                    self.perform(call);
                }
                status
            }
        };
        write!(stream, "HTTP/1.1 {status} As It Is\r\ncontent-length: 2\r\n\r\nok").ok()
    }

    fn perform(&self, call: Call) -> u16 {
        let mut state = self.lock();
        if call.key.as_ref().is_some_and(|key| state.keys.contains(key)) {
            return 200;
        }
        let highest = state.highest.entry(call.channel).or_insert_with(|| call.token.clone());
        if *highest > call.token {
            state.fenced += 1;
            return 412;
        }
        highest.clone_from(&call.token);
        state.keys.extend(call.key.clone());
        state.done.push(call);
        200
    }
}

/// A whole request, if it is one.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    assert!(line.starts_with("POST /letters "), "{line}");
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let before = headers.insert(name.to_lowercase(), value.to_owned());
        assert_eq!(before, None, "each header once");
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Call {
        channel: headers.get("chronon-channel")?.parse().ok()?,
        key: headers.get("idempotency-key").cloned(),
        token: headers.get("chronon-fencing-token").cloned().unwrap_or_default(),
        body: String::from_utf8(body).ok()?,
    })
}
