//! State that was written by one version of a program is read by the next: a field is added, years of sessions stay.
//!
//! The `UserSession` of Flink's documentation on schema evolution, with a field that comes later and has a default. Version 1 of the
//! operator counts nothing, version 2 counts page views, version 3 asks for what nobody ever stored and is refused before it reads a
//! record. Nothing but a temporary folder is needed:
//!
//!     cargo run --release --example user_session_evolution

use serde::{Deserialize, Serialize};
use sluicegate::stream::{
    Emit, Failure, Halt, Harness, Key, KeyedProcess, KeyedStream, OperatorContext, Outputs, StateValue, Timestamp, ValueState,
};
use std::{fmt::Write, path::Path};

/// What all versions of a session can do.
trait UserSession: StateValue {
    fn begun(user: &str, at: Timestamp) -> Self;
    fn seen(&mut self, at: Timestamp);
    fn shown(&self) -> String;
}

mod version_1 {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub struct Session {
        user_id: String,
        login_time: Timestamp,
        last_activity: Timestamp,
    }

    impl StateValue for Session {}

    impl UserSession for Session {
        fn begun(user: &str, at: Timestamp) -> Self {
            Self { user_id: user.to_owned(), login_time: at, last_activity: at }
        }

        fn seen(&mut self, at: Timestamp) {
            self.last_activity = at;
        }

        fn shown(&self) -> String {
            format!("{} since {}, last seen {}", self.user_id, self.login_time, self.last_activity)
        }
    }
}

mod version_2 {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub struct Session {
        user_id: String,
        login_time: Timestamp,
        last_activity: Timestamp,
        /// New: sessions of version 1 begin with 0.
        #[serde(default)]
        page_views: u32,
    }

    impl StateValue for Session {}

    impl UserSession for Session {
        fn begun(user: &str, at: Timestamp) -> Self {
            Self { user_id: user.to_owned(), login_time: at, last_activity: at, page_views: 0 }
        }

        fn seen(&mut self, at: Timestamp) {
            self.last_activity = at;
            self.page_views += 1;
        }

        fn shown(&self) -> String {
            format!(
                "{} since {}, last seen {}, {} page views",
                self.user_id, self.login_time, self.last_activity, self.page_views
            )
        }
    }
}

mod version_3 {
    use super::*;

    #[derive(Serialize, Deserialize)]
    pub struct Session {
        user_id: String,
        login_time: Timestamp,
        last_activity: Timestamp,
        page_views: u32,
        /// Without a default: no stored session has it.
        device: String,
    }

    impl StateValue for Session {}

    impl UserSession for Session {
        fn begun(user: &str, at: Timestamp) -> Self {
            Self { user_id: user.to_owned(), login_time: at, last_activity: at, page_views: 0, device: "phone".to_owned() }
        }

        fn seen(&mut self, at: Timestamp) {
            self.last_activity = at;
            self.page_views += 1;
        }

        fn shown(&self) -> String {
            format!("{} on {}", self.user_id, self.device)
        }
    }
}

/// The operator is the same in all versions.
struct Sessions<S>(ValueState<String, S>);

impl<S: UserSession> KeyedProcess<String, String> for Sessions<S> {
    type Out = String;

    fn process(&mut self, user: &Key<String>, at: Timestamp, _page: String, out: &mut Emit<'_, String>) -> Result<(), Halt> {
        let begin = || S::begun(&user.value, at);
        let shown = self.0.update(user, begin, |session| {
            session.seen(at);
            session.shown()
        })?;
        out.push(shown)
    }
}

fn sessions<S: UserSession>(pages: &KeyedStream<String, String>) -> Outputs<String> {
    Outputs::of(&pages.process("sessions", |declare| {
        let session = declare.value::<String, S>("session");
        move |context: &mut OperatorContext<'_, '_>| Ok(Sessions::<S>(context.state(&session)?))
    }))
}

type Run = Harness<String, String, Outputs<String>>;

fn visit(run: &mut Run, told: &mut String, visits: &[(Timestamp, &str, &str)]) -> Result<(), Failure> {
    for (at, user, page) in visits {
        run.record(*at, (*user).to_owned(), (*page).to_owned())?;
    }
    for (_, line) in run.outputs.take() {
        let _ = writeln!(told, "    {line}");
    }
    Ok(())
}

/// All three versions, one after the other, with their checkpoints in `folder`. Returns what there is to tell.
fn evolve(folder: &Path) -> Result<String, Failure> {
    let mut told = String::from("version 1, from nothing:\n");
    let mut run = Run::new(|_, pages| sessions::<version_1::Session>(pages))?;
    visit(&mut run, &mut told, &[(1_000, "alice", "/"), (2_000, "bob", "/"), (3_000, "alice", "/cart")])?;
    run.snapshot(folder)?;

    told.push_str("version 2, which counts page views, from the state of version 1:\n");
    let mut run = Run::restore(folder, |_, pages| sessions::<version_2::Session>(pages))?;
    visit(&mut run, &mut told, &[(4_000, "alice", "/buy"), (5_000, "alice", "/thanks"), (6_000, "carol", "/")])?;
    run.snapshot(folder)?;

    told.push_str("its state, with bob as version 1 has left him:\n");
    for (user, session) in run.state("sessions", "session")? {
        let _ = writeln!(told, "    {user} {session}");
    }

    told.push_str("version 3, which wants a field that was never stored:\n");
    match Run::restore(folder, |_, pages| sessions::<version_3::Session>(pages)) {
        Ok(_) => told.push_str("    goes on\n"),
        Err(refused) => drop(writeln!(told, "    refused: {refused}")),
    }
    Ok(told)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    print!("{}", evolve(folder.path()).map_err(|failure| failure.message)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn sessions_of_version_1_live_on_in_version_2_and_version_3_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let told = super::evolve(folder.path()).unwrap();
        assert_eq!(
            told,
            r#"version 1, from nothing:
    alice since 1000, last seen 1000
    bob since 2000, last seen 2000
    alice since 1000, last seen 3000
version 2, which counts page views, from the state of version 1:
    alice since 1000, last seen 4000, 1 page views
    alice since 1000, last seen 5000, 2 page views
    carol since 6000, last seen 6000, 1 page views
its state, with bob as version 1 has left him:
    alice {"last_activity":5000,"login_time":1000,"page_views":2,"user_id":"alice"}
    bob {"last_activity":2000,"login_time":2000,"user_id":"bob"}
    carol {"last_activity":6000,"login_time":6000,"page_views":1,"user_id":"carol"}
version 3, which wants a field that was never stored:
    refused: checkpoint 1: operator sessions, state session: the checkpoint has values of {last_activity: i64, login_time: i64, user_id: text}, this program {device: text, last_activity: i64, login_time: i64, page_views: u32, user_id: text} (field "device" is new and has no default): run the program that wrote it, or give the state a new name
"#
        );
    }
}
