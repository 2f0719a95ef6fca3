//! `/livez`, `/readyz` and `/metrics`, on a thread of their own so that they answer whatever the job does; and `POST /stop`, from this
//! machine only.

use super::{Health, Metrics};
use crate::protocol::Failure;
use axum::{
    Router,
    extract::{ConnectInfo, State},
    http::{StatusCode, Uri, header},
    response::IntoResponse,
    routing::{get, post},
};
use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long a port may be busy before that is an error, and the pause between two tries.
const BUSY: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(20);

/// A running server; it stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is done when somebody asks for a stop; `true`: drain.
pub type OnStop = Arc<dyn Fn(bool) + Send + Sync>;

#[derive(Clone)]
struct Shown {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    on_stop: OnStop,
}

impl Server {
    /// Listens on `listen` (`host:port`, port 0 for a free one).
    ///
    /// # Errors
    /// Fatal if the address cannot be listened on: busy, not this machine's, not allowed.
    pub fn start(listen: &str, metrics: Arc<Metrics>, health: Arc<Health>, on_stop: OnStop) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            let advice = "set http.listen to another address, to port 0 for a free port, or to \"off\"";
            Failure::fatal(format!("cannot listen on {listen} for /metrics and health: {error}; {advice}"))
        };
        let listener = bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let routes = routes(Shown { metrics, health, on_stop }).into_make_service_with_connect_info::<SocketAddr>();
        let serve = async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "HTTP cannot be served"),
            };
            // Connections that are kept alive must not keep the process: leaving at the word, not after the last of them.
            tokio::select! {
                served = axum::serve(listener, routes) => {
                    if let Err(error) = served {
                        tracing::error!(%error, "HTTP is no longer served");
                    }
                }
                _ = stopped => {}
            }
        };
        let thread =
            std::thread::Builder::new().name("http".to_owned()).spawn(move || runtime.block_on(serve)).map_err(failed)?;
        tracing::info!(%address, "listening: /livez /readyz /metrics");
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed already, and there is nothing to answer any more.
            let _ = thread.join();
        }
    }
}

/// A predecessor that was killed a moment ago holds its port until the system has taken its memory apart.
fn bind(listen: &str) -> std::io::Result<TcpListener> {
    let since = Instant::now();
    loop {
        match TcpListener::bind(listen) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && since.elapsed() < BUSY => std::thread::sleep(AGAIN),
            bound => return bound,
        }
    }
}

fn routes(shown: Shown) -> Router {
    Router::new()
        .route("/livez", get(|State(shown): State<Shown>| async move { answer(&shown.health, shown.health.live()) }))
        .route("/readyz", get(|State(shown): State<Shown>| async move { answer(&shown.health, shown.health.ready()) }))
        .route("/metrics", get(metrics))
        .route("/stop", post(stop))
        .with_state(shown)
}

fn answer(health: &Health, well: bool) -> (StatusCode, String) {
    let code = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{}\n", health.status()))
}

/// From this machine only (in a container: from inside of it), since whoever can scrape metrics is not meant to stop the job.
async fn stop(State(shown): State<Shown>, ConnectInfo(peer): ConnectInfo<SocketAddr>, uri: Uri) -> (StatusCode, String) {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "only from the machine that the job runs on: run `sluicegate stop` there\n".to_owned());
    }
    let drain = match uri.query() {
        None | Some("drain=false") => false,
        Some("drain=true") => true,
        Some(other) => return (StatusCode::BAD_REQUEST, format!("{other:?}: allowed is drain=true or drain=false\n")),
    };
    (shown.on_stop)(drain);
    (StatusCode::ACCEPTED, format!("{}\n", shown.health.status()))
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    shown.metrics.attempts.running.set(i64::from(shown.health.ready()));
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], shown.metrics.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Status;
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    fn nobody() -> OnStop {
        Arc::new(|_| ())
    }

    fn get(server: &Server, path: &str) -> String {
        ask(server, "GET", path)
    }

    fn ask(server: &Server, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_stop_is_asked_for_with_post_and_may_say_drain() {
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let on_stop = {
            let asked = Arc::clone(&asked);
            Arc::new(move |drain| asked.lock().unwrap().push(drain))
        };
        let server = Server::start("127.0.0.1:0", Metrics::new(), Arc::new(Health::default()), on_stop).unwrap();
        assert!(get(&server, "/stop").contains("405"), "a GET must not stop anything");
        for (target, code) in [("/stop", "202"), ("/stop?drain=true", "202"), ("/stop?drain=perhaps", "400")] {
            assert!(ask(&server, "POST", target).contains(code), "{target}");
        }
        assert_eq!(*asked.lock().unwrap(), [false, true]);
    }

    #[test]
    fn ready_only_while_an_attempt_runs_and_live_until_no_further_one_is_made() {
        let health = Arc::new(Health::default());
        let server = Server::start("127.0.0.1:0", Metrics::new(), Arc::clone(&health), nobody()).unwrap();
        let waiting = Status::Waiting { reason: "broker away".into() };
        let failed = Status::Failed { reason: "fenced".into() };
        for (status, ready, live, text) in [
            (Status::Starting, "503", "200", "starting"),
            (Status::Recovering, "503", "200", "recovering"),
            (Status::Running, "200", "200", "running"),
            (waiting, "503", "200", "broker away"),
            (Status::Stopping, "503", "200", "stopping"),
            (failed, "503", "503", "failed: fenced"),
        ] {
            health.set(status);
            let (readyz, livez) = (get(&server, "/readyz"), get(&server, "/livez"));
            assert!(readyz.starts_with(&format!("HTTP/1.1 {ready}")) && readyz.contains(text), "{readyz}");
            assert!(livez.starts_with(&format!("HTTP/1.1 {live}")), "{livez}");
        }
        assert!(get(&server, "/").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn metrics_are_served_as_openmetrics() {
        let metrics = Metrics::new();
        metrics.source.records("orders").inc_by(7);
        let health = Arc::new(Health::default());
        health.set(Status::Running);
        let server = Server::start("127.0.0.1:0", metrics, health, nobody()).unwrap();
        let answer = get(&server, "/metrics");
        assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
        assert!(answer.contains("\nsluicegate_records_in_total{topic=\"orders\"} 7\n"), "{answer}");
        assert!(answer.contains("\nsluicegate_running 1\n"), "{answer}");
        assert!(answer.trim_end().ends_with("# EOF"), "{answer}");
    }

    #[test]
    fn a_busy_port_is_named_and_freed_when_the_server_is_dropped() {
        let first = Server::start("127.0.0.1:0", Metrics::new(), Arc::default(), nobody()).unwrap();
        let address = first.address().to_string();
        let kept_alive = TcpStream::connect(first.address()).unwrap();
        let error = Server::start(&address, Metrics::new(), Arc::default(), nobody()).unwrap_err();
        assert!(error.message.contains(&address) && error.message.contains("http.listen"), "{error}");
        drop(first);
        drop(kept_alive);
        Server::start(&address, Metrics::new(), Arc::default(), nobody()).unwrap();
    }

    #[test]
    fn a_port_that_a_killed_predecessor_still_holds_is_waited_for() {
        let predecessor = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = predecessor.local_addr().unwrap().to_string();
        let dying = std::thread::spawn(move || {
            // Held for some of the successor's tries; an event to wait for is what the successor has not got either.
            std::thread::sleep(AGAIN * 5);
            drop(predecessor);
        });
        Server::start(&address, Metrics::new(), Arc::default(), nobody()).unwrap();
        dying.join().unwrap();
    }
}
