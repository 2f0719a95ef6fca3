//! The registry that other tests build on behaves as Confluent's does: ids, unknown ids, compatibility, passwords, TLS, and a kill.

use crate::harness::{END, LIMIT, within};
use integration_tests::{
    Result, ensure, process,
    registry::{Options, Registry},
};
use std::process::Command;

const FIRST: &str = r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]}"#;
const COMPATIBLE: &str =
    r#"{"type":"record","name":"A","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":1}]}"#;
const INCOMPATIBLE: &str = r#"{"type":"record","name":"A","fields":[{"name":"c","type":"string"}]}"#;

/// A registry, or a word on why there is none.
fn started(registry: Result<Result<Registry, String>>) -> Result<Option<Registry>> {
    match registry? {
        Ok(registry) => Ok(Some(registry)),
        Err(why) => {
            eprintln!("skipped: no schema registry: {why}");
            Ok(None)
        }
    }
}

/// The status that curl gets.
fn status(arguments: &[&str]) -> Result<String> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "60", "--write-out", "%{http_code}"]).args(arguments);
    for _ in arguments.iter().filter(|argument| argument.contains("://")) {
        curl.args(["--output", "/dev/null"]);
    }
    Ok(process::run(&mut curl, END)?.stdout)
}

#[test]
fn ids_are_kept_over_a_kill_and_changes_are_judged() {
    within(LIMIT, || {
        let Some(mut registry) = started(Registry::start())? else { return Ok(()) };
        // Given two subjects with a schema each
        let id = registry.register("x-value", FIRST)?;
        assert_eq!(registry.register("x-value", FIRST)?, id, "the same schema has the same id");
        ensure!(registry.register("y-value", COMPATIBLE)? != id, "another schema has another id");
        // Then an id that nobody has given out is unknown
        let unknown = registry.ask("GET", "/schemas/ids/4711", "")?;
        ensure!(unknown.status == 404 && unknown.body.contains("40403"), "{unknown:?}");
        // And a change is taken or refused as the subject's compatibility says
        registry.set_compatibility("x-value", "BACKWARD")?;
        registry.register("x-value", COMPATIBLE)?;
        let refused = registry.register("x-value", INCOMPATIBLE).unwrap_err().to_string();
        ensure!(refused.contains("409"), "{refused}");
        // And a kill changes nothing but that it is away meanwhile
        registry.kill()?;
        ensure!(registry.subjects().is_err(), "a killed registry answers");
        registry.restart()?;
        assert_eq!(registry.register("x-value", FIRST)?, id);
        assert_eq!(registry.subjects()?.len(), 2);
        // And while it is frozen nobody gets an answer
        registry.pause()?;
        assert_eq!(status(&["--max-time", "1", &format!("{}/subjects", registry.url())])?, "000");
        registry.resume()?;
        assert_eq!(status(&[&format!("{}/subjects", registry.url())])?, "200");
        Ok(())
    });
}

#[test]
fn without_the_password_it_answers_nobody() {
    within(LIMIT, || {
        let options = Options { user: Some(("reader".into(), "secret".into())), ..Options::default() };
        let Some(registry) = started(Registry::start_with(&options))? else { return Ok(()) };
        let subjects = format!("{}/subjects", registry.url());
        assert_eq!(status(&[&subjects])?, "401");
        assert_eq!(status(&["--user", "reader:wrong", &subjects])?, "401");
        assert_eq!(status(&["--user", "reader:secret", &subjects])?, "200");
        // A request with a body, and two on one connection
        let body = request(FIRST);
        let post = ["--user", "reader:secret", "--header", "Content-Type: application/json", "--data", &body];
        let versions = format!("{subjects}/x-value/versions");
        assert_eq!(status(&[&post[..], &[&versions, &versions]].concat())?, "200200");
        assert_eq!(registry.subjects()?, ["x-value"]);
        Ok(())
    });
}

#[test]
fn with_tls_it_is_trusted_by_its_certificate_alone() {
    within(LIMIT, || {
        let Some(registry) = started(Registry::start_with(&Options { tls: true, ..Options::default() }))? else {
            return Ok(());
        };
        let subjects = format!("{}/subjects", registry.url());
        ensure!(subjects.starts_with("https://"), "{subjects}");
        let certificate = registry.certificate().map(|path| path.display().to_string()).unwrap_or_default();
        assert_eq!(status(&["--cacert", &certificate, &subjects])?, "200");
        assert_eq!(status(&[&subjects])?, "000");
        Ok(())
    });
}

fn request(schema: &str) -> String {
    format!("{{\"schema\":{schema:?}}}")
}
