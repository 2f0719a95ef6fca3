//! A TCP proxy before a broker, for what a network does: refuse, cut, stall one way, delay, be slow, and lose exactly one reply.
//!
//! ```text
//! client ──► proxy (the address that the broker advertises) ──► broker
//!                frame by frame: 4 bytes of length, then API key, version and correlation id of a request,
//!                                                   or the correlation id of a reply
//! ```
//!
//! It knows the frames of Kafka's protocol, no more, so that a reply can be lost by the name of its request: the broker has done
//! what it was asked for, and the client never learns that. Only for connections without TLS.

use crate::{Context, Result, ports};
use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

/// How often the listener looks whether it is to end or to refuse.
const LOOK: Duration = Duration::from_millis(10);
/// For the broker to take a connection; one that is not there refuses at once.
const CONNECT: Duration = Duration::from_secs(20);

/// A request of Kafka's protocol whose reply can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum Api {
    /// Records to a partition.
    Produce = 0,
    /// A new producer id or epoch: what `init_transactions` asks for.
    InitProducerId = 22,
    /// A partition joins the transaction.
    AddPartitionsToTxn = 24,
    /// The group's offsets join the transaction.
    AddOffsetsToTxn = 25,
    /// A commit. (An abort is the same request; it passes.)
    EndTxn = 26,
    /// Offsets within the transaction.
    TxnOffsetCommit = 28,
}

/// What the network does to all connections, old and new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Nothing: bytes pass.
    Works,
    /// New connections are refused; those that exist are cut.
    Refuses,
    /// Requests are kept back; replies pass. Connections stay open.
    HoldsRequests,
    /// Replies are kept back; requests pass. Connections stay open.
    HoldsReplies,
    /// Every request takes this much longer.
    Delays(Duration),
    /// Each connection carries so many bytes per second to the broker.
    Limits(u32),
}

#[derive(Debug)]
struct State {
    network: Network,
    /// Requests whose next reply is to be lost.
    lose: BTreeSet<Api>,
    lost: u32,
    /// What the network is like once the next one is lost.
    then: Option<Network>,
    connections: Vec<Weak<Connection>>,
    ended: bool,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, network: Network) {
        self.state().network = network;
        if network == Network::Refuses {
            self.cut();
        }
        self.changed.notify_all();
    }

    fn cut(&self) {
        for connection in self.state().connections.drain(..).filter_map(|connection| connection.upgrade()) {
            connection.cut();
        }
        self.changed.notify_all();
    }
}

/// A proxy before one broker. Its connections are cut when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy on a free port before `upstream`, `host:port`, which need not listen yet.
    pub fn before(upstream: &str) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let state =
            State { network: Network::Works, lose: BTreeSet::new(), lost: 0, then: None, connections: Vec::new(), ended: false };
        let upstream = upstream.parse().with_context(|| format!("upstream {upstream}"))?;
        let shared = Arc::new(Shared { upstream, state: Mutex::new(state), changed: Condvar::new() });
        let listener = TcpListener::bind(address)?;
        let listening = Arc::clone(&shared);
        thread::Builder::new().name("proxy".into()).spawn(move || listen(&listening, address, Some(listener)))?;
        Ok(Self { address, shared })
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Port for clients.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on the network is like this.
    pub fn set(&self, network: Network) {
        self.shared.set(network);
    }

    /// Cuts all connections; new ones are as [`Proxy::set`] says.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// The next reply to a request of this kind is lost, and its connection cut, as when the broker's machine dies in between.
    pub fn lose_reply_to(&self, api: Api) {
        self.shared.state().lose.insert(api);
    }

    /// The same, and from that moment on the network is like `then`: nobody can ask again in between.
    pub fn lose_reply_to_and_set(&self, api: Api, then: Network) {
        let mut state = self.shared.state();
        state.lose.insert(api);
        state.then = Some(then);
    }

    /// How many replies were lost so.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.shared.state().lost
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.cut();
    }
}

/// Accepts until the end. While connections are refused there is no listener.
fn listen(shared: &Arc<Shared>, address: SocketAddr, mut listener: Option<TcpListener>) {
    loop {
        let (network, ended) = {
            let state = shared.state();
            (state.network, state.ended)
        };
        if ended {
            return;
        }
        if network == Network::Refuses {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        let accepted = listener.as_ref().and_then(|listener| {
            listener.set_nonblocking(true).ok()?;
            listener.accept().ok()
        });
        match accepted {
            Some((client, _)) => {
                // A broker that is away refuses, and so do we: the client's connection ends.
                let _ = connect(shared, client);
            }
            None => thread::sleep(LOOK),
        }
    }
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    broker: TcpStream,
    /// Correlation ids of the requests whose replies are to be lost.
    lose: Mutex<BTreeSet<[u8; 4]>>,
}

impl Connection {
    fn cut(&self) {
        // Errors: it is cut already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }

    fn lose(&self) -> MutexGuard<'_, BTreeSet<[u8; 4]>> {
        self.lose.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    let broker = TcpStream::connect_timeout(&shared.upstream, CONNECT)?;
    broker.set_nodelay(true)?;
    let connection = Arc::new(Connection { client, broker, lose: Mutex::default() });
    {
        let mut state = shared.state();
        state.connections.retain(|connection| connection.strong_count() > 0);
        state.connections.push(Arc::downgrade(&connection));
    }
    for direction in [Direction::ToBroker, Direction::ToClient] {
        let (shared, connection) = (Arc::clone(shared), Arc::clone(&connection));
        thread::Builder::new().name("proxy connection".into()).spawn(move || {
            // An end in one direction is the end of both, as with a broker.
            let _ = pump(&shared, &connection, direction);
            connection.cut();
        })?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToBroker,
    ToClient,
}

/// Passes frame after frame.
fn pump(shared: &Shared, connection: &Connection, direction: Direction) -> io::Result<()> {
    let (mut from, mut to) = match direction {
        Direction::ToBroker => (&connection.client, &connection.broker),
        Direction::ToClient => (&connection.broker, &connection.client),
    };
    let mut frame = Vec::new();
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let size = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        frame.clear();
        frame.extend_from_slice(&length);
        from.take(size as u64).read_to_end(&mut frame)?;
        if frame.len() != size + length.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(delay) = gate(shared, connection, direction, &frame)? {
            thread::sleep(delay);
        }
        to.write_all(&frame)?;
    }
}

/// Whether a request is an EndTxn that aborts: its last field says so. From version 3 on the empty tagged fields come behind it.
fn is_abort(api: i16, frame: &[u8]) -> bool {
    let commits = match frame {
        [_, _, _, _, _, _, 0, 0..=2, .., committed] | [_, _, _, _, _, _, 0, 3..=9, .., committed, _] => *committed != 0,
        _ => true,
    };
    api == Api::EndTxn as i16 && !commits
}

/// Waits while the network keeps frames of this direction back; the delay of this frame; an error if its connection is to end here.
fn gate(shared: &Shared, connection: &Connection, direction: Direction, frame: &[u8]) -> io::Result<Option<Duration>> {
    let mut state = shared.state();
    match (direction, frame) {
        (Direction::ToBroker, [_, _, _, _, a, b, _, _, correlation @ ..]) => {
            let api = i16::from_be_bytes([*a, *b]);
            if !is_abort(api, frame)
                && let (Some(wanted), Some(id)) =
                    (state.lose.iter().copied().find(|wanted| *wanted as i16 == api), correlation.first_chunk())
            {
                state.lose.remove(&wanted);
                connection.lose().insert(*id);
            }
        }
        (Direction::ToClient, [_, _, _, _, correlation @ ..])
            if correlation.first_chunk().is_some_and(|id| connection.lose().remove(id)) =>
        {
            state.lost += 1;
            let then = state.then.take();
            drop(state);
            if let Some(network) = then {
                shared.set(network);
            }
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        _ => {}
    }
    loop {
        let held = match state.network {
            Network::HoldsRequests => direction == Direction::ToBroker,
            Network::HoldsReplies => direction == Direction::ToClient,
            _ => false,
        };
        if !held || state.ended {
            break;
        }
        // What is kept back is not lost for good: it arrives late, unless the connection is cut meanwhile.
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    match state.network {
        Network::Delays(delay) if direction == Direction::ToBroker => Ok(Some(delay)),
        Network::Limits(rate) if direction == Direction::ToBroker => {
            Ok(Some(Duration::from_secs_f64(frame.len() as f64 / f64::from(rate.max(1)))))
        }
        _ => Ok(None),
    }
}
