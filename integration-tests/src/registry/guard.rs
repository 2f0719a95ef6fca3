//! Basic authentication before a registry that knows none without a server of identities beside it.
//!
//! A small HTTP proxy: a request without the right name and password is answered with 401, any other is passed on. One request for each
//! connection, which both sides are told.

use crate::{Context, Result, ports};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How often the listener looks whether it is to end.
const LOOK: Duration = Duration::from_millis(10);
/// A request that stops in the middle holds nobody up for longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// No request of a registry's client has more.
const BODY: usize = 16 << 20;

const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"registry\"\r\nContent-Type: application/json\r\nContent-Length: \
                       45\r\nConnection: close\r\n\r\n{\"error_code\":40101,\"message\":\"Unauthorized\"}";

/// A running guard; dropping it closes its port.
pub(super) struct Guard {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Guard {
    /// Lets those with this name and password through to `upstream`.
    pub(super) fn before(upstream: &str, name: &str, password: &str) -> Result<Self> {
        let port = ports::free()?;
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let ended = Arc::new(AtomicBool::new(false));
        let wanted: Arc<str> = format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))).into();
        let (upstream, told): (Arc<str>, _) = (upstream.into(), Arc::clone(&ended));
        thread::spawn(move || {
            while !told.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((client, _)) => {
                        let (upstream, wanted) = (Arc::clone(&upstream), Arc::clone(&wanted));
                        // A connection that breaks is the client's to notice.
                        thread::spawn(move || serve(&client, &upstream, &wanted));
                    }
                    Err(_) => thread::sleep(LOOK),
                }
            }
        });
        Ok(Self { port, ended })
    }

    /// `host:port` for clients.
    pub(super) fn address(&self) -> String {
        super::local(self.port)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

fn serve(client: &TcpStream, upstream: &str, wanted: &str) -> Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(client);
    let mut request = String::new();
    let (mut length, mut permitted) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "authorization" => permitted = value.trim() == wanted,
            "connection" => {}
            "content-length" => {
                length = value.trim().parse::<usize>()?.min(BODY);
                request.push_str(&line);
            }
            "\r\n" | "\n" | "" => break,
            _ => request.push_str(&line),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut client = client;
    if !permitted {
        client.write_all(REFUSED.as_bytes())?;
        return Ok(());
    }
    let mut registry = TcpStream::connect(upstream).context("the registry")?;
    registry.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes())?;
    registry.write_all(&body)?;
    std::io::copy(&mut registry, &mut client)?;
    Ok(())
}
