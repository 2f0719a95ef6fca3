//! A job that reads a socket, and a peer that writes, closes, breaks and overdoes it.

use super::*;
use crate::connectors::Collected;
use crate::protocol::FailureKind;
use crate::stream::{App, Execution, Running};
use std::{io::Write, net::TcpListener, path::Path, thread};

const LONG: Duration = Duration::from_secs(60);

fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn start(folder: &Path, source: SocketSource<String>) -> (Running, Collected) {
    let (app, output) = (App::new(), Collected::new());
    app.read("lines", source).write_lines("out", output.clone());
    let execution = Execution::new("lines", folder).checkpoint_every(Duration::from_millis(20));
    (execution.start(app).unwrap(), output)
}

fn until(mut reached: impl FnMut() -> bool) {
    let since = Instant::now();
    while !reached() {
        assert!(since.elapsed() < LONG, "not reached");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_end_of_the_connection_is_the_end_of_the_input_and_the_last_line_needs_no_end() {
    let (folder, (listener, address)) = (tempfile::tempdir().unwrap(), listening());
    let (running, output) = start(folder.path(), SocketSource::lines(address));
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"one\r\n\ntw").unwrap();
    until(|| output.lines() == ["one", ""]);
    // half a line is waited for
    peer.write_all(b"o\nthree").unwrap();
    drop(peer);
    running.wait().unwrap();
    assert_eq!(output.lines(), ["one", "", "two", "three"]);
}

#[test]
fn a_source_that_reconnects_has_no_end_and_drops_half_a_line_of_a_connection_that_was_closed() {
    let (folder, (listener, address)) = (tempfile::tempdir().unwrap(), listening());
    let source = SocketSource::lines(address).reconnect(Duration::from_millis(1));
    let (running, output) = start(folder.path(), source);
    listener.accept().unwrap().0.write_all(b"1\n2").unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(b"3\n").unwrap();
    until(|| output.lines() == ["1", "3"]);
    running.stop();
    running.wait().unwrap();
    assert_eq!(output.lines(), ["1", "3"]);
}

#[test]
fn a_line_over_the_budget_is_refused_with_its_number_whether_it_ends_or_not() {
    for text in ["short\n0123456789\n".to_owned(), format!("short\n{}", "x".repeat(200_000))] {
        let (folder, (listener, address)) = (tempfile::tempdir().unwrap(), listening());
        let (running, output) = start(folder.path(), SocketSource::lines(&address).max_line_bytes(9));
        let (mut peer, _) = listener.accept().unwrap();
        // The job may be gone before all is written.
        let _ = peer.write_all(text.as_bytes());
        let failure = running.wait().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Fatal);
        let line = format!("socket {address}: line 2 has more than 9 bytes; allow more with SocketSource::max_line_bytes");
        assert!(failure.message.contains(&line), "{failure}");
        assert!(output.lines().len() <= 1);
    }
}

#[test]
fn nobody_who_listens_and_no_such_host_are_told_with_the_address() {
    let (listener, address) = listening();
    drop(listener);
    for (address, words) in [(address.as_str(), "cannot connect"), ("no port", "allowed is host:port")] {
        let folder = tempfile::tempdir().unwrap();
        let failure = start(folder.path(), SocketSource::lines(address)).0.wait().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
        assert!(failure.message.contains(address) && failure.message.contains(words), "{failure}");
    }
}

#[test]
fn it_says_that_it_cannot_be_read_again() {
    let (socket, _) = SocketSource::lines("localhost:9999").into_parts();
    let warning = socket.warning().unwrap();
    assert!(warning.contains("socket localhost:9999 cannot be read again") && warning.contains("lost"), "{warning}");
}

#[test]
fn what_the_job_does_not_take_is_not_gathered() {
    const LINES: usize = 30_000;
    let (listener, address) = listening();
    let socket = Socket { address, reconnect: None, max_line_bytes: 1 << 10 };
    let mut lines = socket.open(0, Arc::default()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let writer = thread::spawn(move || {
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        (0..LINES).try_for_each(|_| peer.write_all(&line))
    });
    let mut count = 0;
    until(|| {
        lines
            .read(7, &mut |_, line| {
                assert_eq!(line.len(), 99);
                count += 1;
            })
            .unwrap();
        let room = lines.buffer.more().capacity();
        assert!(room <= 4 * CHUNK, "{room}");
        count == LINES
    });
    writer.join().unwrap().unwrap();
}
