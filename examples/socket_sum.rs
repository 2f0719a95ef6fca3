//! Adds up the numbers that come over a socket, and is killed in between: the sums of what was checkpointed survive.
//!
//! Without an argument the program plays both ends: it listens, starts itself as the job, sends the numbers 1 to 10, kills the job
//! (kill -9) when their sums are committed, starts it again and sends 11 to 20: the sums go on where they were, 100 and 110 in the end. A
//! socket cannot be read again: what came after the last checkpoint would be lost with the kill, which the job says when it starts. The
//! job takes a checkpoint each second, and is restarted 3 times at most, after 1 s. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example socket_sum
//!
//! Or as a job that reads the lines of others, until they close (start `nc -lk 9999` before); the sums are files in the folder:
//!
//!     cargo run --release --example socket_sum -- localhost:9999 socket-sum

use serde::{Deserialize, Serialize};
use sluicegate::{
    connectors::{FileSink, SocketSource},
    stream::{App, Execution, Failure, RestartStrategy, StateValue},
};
use std::{
    error::Error,
    io::Write,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

/// A running sum; of one number, at first.
#[derive(Clone, Serialize, Deserialize)]
struct Sum {
    of: String,
    sum: u64,
}

impl StateValue for Sum {}

/// The job: sums of even and of odd numbers.
fn job(address: &str, folder: &Path, checkpoint_every: Duration) -> Result<(), Failure> {
    let app = App::new();
    let numbers = SocketSource::parse(address, |line| line.trim().parse::<u64>().map_err(|why| why.to_string()));
    app.read("numbers", numbers)
        .map(|number| Sum { of: if number % 2 == 0 { "even" } else { "odd" }.to_owned(), sum: number })
        .key_by(|sum| sum.of.clone())
        .reduce("sums", |sum, number| sum.sum += number.sum)
        .values()
        .map(|Sum { of, sum }| format!("{of} {sum}"))
        .write_lines("sums", FileSink::new(folder.join("sums")).suffix(".txt"));
    Execution::new("socket-sum", folder)
        .checkpoint_every(checkpoint_every)
        .restart(RestartStrategy::FixedDelay { attempts: 3, delay: Duration::from_secs(1) })
        .run(app)
}

/// What is committed.
fn sums(folder: &Path) -> Result<Vec<String>, Failure> {
    let folder = folder.join("sums");
    if folder.exists() { FileSink::read(&folder) } else { Ok(Vec::new()) }
}

/// The other end: starts the job, as a process that `job` makes of the address, kills it after ten numbers, starts it again. Returns all sums.
fn demonstrate(folder: &Path, job: impl Fn(&str) -> Command) -> Result<Vec<String>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let mut first = Job(job(&address).spawn()?);
    let mut numbers = accept(&listener, &mut first)?;
    (1..=10).try_for_each(|number| writeln!(numbers, "{number}"))?;
    let since = Instant::now();
    while sums(folder).map_err(|failure| failure.message)?.len() < 10 {
        first.runs()?;
        if since.elapsed() > Duration::from_secs(60) {
            return Err("ten sums were not committed within a minute".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    first.0.kill()?;
    first.0.wait()?;
    drop(numbers);

    let mut second = Job(job(&address).spawn()?);
    let mut numbers = accept(&listener, &mut second)?;
    (11..=20).try_for_each(|number| writeln!(numbers, "{number}"))?;
    // The end of the connection is the end of the input: the job commits what it has, and ends.
    drop(numbers);
    let status = second.0.wait()?;
    if !status.success() {
        return Err(format!("the job ended with {status}").into());
    }
    Ok(sums(folder).map_err(|failure| failure.message)?)
}

/// A process that does not outlive this one.
struct Job(Child);

impl Job {
    fn runs(&mut self) -> Result<(), Box<dyn Error>> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the job ended with {status}").into()),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the job to connect, for as long as it runs.
fn accept(listener: &TcpListener, job: &mut Job) -> Result<TcpStream, Box<dyn Error>> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => job.runs()?,
            Err(why) => return Err(why.into()),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [address, folder] = arguments.as_slice() {
        println!("{address} cannot be read again: numbers that come between a checkpoint and a failure are lost");
        return Ok(job(address, Path::new(folder), Duration::from_secs(1)).map_err(|failure| failure.message)?);
    }
    let (folder, program) = (tempfile::tempdir()?, std::env::current_exe()?);
    println!("1 to 10, then kill -9, then 11 to 20 ...");
    let of_job = |address: &str| {
        let mut command = Command::new(&program);
        command.arg(address).arg(folder.path());
        command
    };
    for sum in demonstrate(folder.path(), of_job)? {
        println!("{sum}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a test: the job as a process of its own, which can be killed.
    #[test]
    #[ignore = "is run by the other one"]
    fn as_a_process() {
        let Ok(address) = std::env::var("SOCKET_SUM_ADDRESS") else { return };
        let folder = std::env::var("SOCKET_SUM_FOLDER").unwrap();
        job(&address, Path::new(&folder), Duration::from_millis(20)).unwrap();
    }

    #[test]
    fn sums_go_on_after_a_kill_where_the_last_checkpoint_was() {
        let folder = tempfile::tempdir().unwrap();
        let of_job = |address: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "tests::as_a_process", "--ignored"]);
            command.env("SOCKET_SUM_ADDRESS", address).env("SOCKET_SUM_FOLDER", folder.path());
            command
        };
        let mut expected = Vec::new();
        let (mut even, mut odd) = (0, 0);
        for number in 1..=20_u64 {
            let (parity, sum) = if number % 2 == 0 { ("even", &mut even) } else { ("odd", &mut odd) };
            *sum += number;
            expected.push(format!("{parity} {sum}"));
        }
        let sums = demonstrate(folder.path(), of_job).unwrap();
        assert_eq!(sums, expected);
        assert_eq!((even, odd), (110, 100));
    }
}
