use super::*;
use crate::kafka::Start;
use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

fn with(set: &[&str]) -> Sources {
    Sources { set: set.iter().map(|s| (*s).to_owned()).collect(), ..Sources::default() }
}

fn file(text: &str) -> (tempfile::NamedTempFile, Sources) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    (file, sources)
}

fn problems(sources: &Sources) -> Vec<String> {
    load(sources).map(|_| Vec::new()).unwrap_or_else(|problems| problems.iter().map(ToString::to_string).collect())
}

fn the_one_problem(set: &[&str]) -> String {
    let all = problems(&with(set));
    assert_eq!(all.len(), 1, "{set:?}: {all:?}");
    all[0].clone()
}

#[test]
fn defaults_are_sound_and_those_of_flink_but_for_the_interval() {
    let settings = load(&Sources::default()).unwrap();
    assert_eq!(settings.checkpoint.interval, Duration::from_secs(1));
    assert_eq!(settings.checkpoint.timeout, Duration::from_secs(600));
    assert_eq!((settings.checkpoint.min_pause, settings.checkpoint.tolerable_failures), (Duration::ZERO, 0));
    assert_eq!((settings.checkpoint.retained.get(), settings.job.max_parallelism.get()), (1, 128));
    assert_eq!(settings.restart, Restart::FixedDelay { attempts: 5, delay: Duration::from_secs(30) });
    assert_eq!(settings.kafka.group, "sluicegate-orders");
    assert_eq!(settings.kafka.producers, 3);
    assert_eq!(settings.source.start, Start::Earliest);
    assert!(settings.job.parallelism.get() >= 1);
}

#[test]
fn the_later_of_file_environment_and_command_line_wins() {
    // given an interval in all three places and a pause in two
    let (_file, mut sources) = file("[checkpoint]\ninterval = \"2s\"\nmin_pause = \"2s\"\nretained = 7\n");
    sources.environment = vec![
        ("SLUICEGATE__CHECKPOINT__INTERVAL".into(), "3s".into()),
        ("SLUICEGATE__CHECKPOINT__MIN_PAUSE".into(), "3s".into()),
        ("HOME".into(), "/".into()),
        ("SLUICEGATE_CONFIG".into(), "elsewhere".into()),
    ];
    sources.set = vec!["checkpoint.interval=4s".into()];
    // then each comes from the last that names it
    let checkpoint = load(&sources).unwrap().checkpoint;
    assert_eq!(
        (checkpoint.interval, checkpoint.min_pause, checkpoint.retained.get()),
        (Duration::from_secs(4), Duration::from_secs(3), 7)
    );
}

#[test]
fn a_later_table_replaces_the_earlier_one_whole() {
    let (_file, mut sources) = file("[source]\nstart = { timestamp = 1000 }\n");
    sources.set = vec!["source.start={ offsets = { 0 = 5 } }".into()];
    assert_eq!(load(&sources).unwrap().source.start, Start::Offsets([(0, 5)].into()));
}

#[test]
fn all_problems_of_all_places_are_told_in_one_run_with_place_value_and_what_is_allowed() {
    let (file, mut sources) = file("[job]\nname = \"Orders\"\n\n[checkpoint]\ninterval = 5\n[state]\nmemory = \"128MB\"\n");
    sources.environment = vec![("SLUICEGATE__RESTART__STRATEGY".into(), "never".into())];
    sources.set = vec!["orders.batch_size=0".into(), "nonsense".into(), "checkpoint.intervall=1s".into()];
    let path = file.path().display();
    let all = problems(&sources);
    let expected = [
        (format!("{path}:2: job.name: "), "\"Orders\"", "a-z, 0-9"),
        (format!("{path}:5: checkpoint.interval: "), "5: ", "a duration like \"500ms\""),
        (format!("{path}:7: state.memory: "), "\"128MB\"", "\"128MiB\""),
        (
            "environment variable SLUICEGATE__RESTART__STRATEGY: restart.strategy: ".into(),
            "\"never\"",
            "\"fixed-delay\" or \"exponential-delay\" or \"failure-rate\" or \"none\"",
        ),
        ("--set: orders.batch_size: ".into(), "\"0\"", "from 1 to 10000"),
        ("--set: ".into(), "\"nonsense\"", "section.key=value"),
        ("--set: checkpoint.intervall: ".into(), "unknown", "did you mean checkpoint.interval?"),
    ];
    for (place, value, allowed) in &expected {
        let found = all.iter().any(|p| p.starts_with(place.as_str()) && p.contains(value) && p.contains(allowed));
        assert!(found, "{place} {value} {allowed}\nis not in\n{}", all.join("\n"));
    }
    assert_eq!(all.len(), expected.len(), "{}", all.join("\n"));
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_one() {
    for (set, hint) in [
        ("checkpiont.interval=1s", "did you mean checkpoint.interval?"),
        ("checkpoint.minpause=1s", "did you mean checkpoint.min_pause?"),
        ("job.topic=x", "did you mean source.topic?"),
        ("source.zzzzzzzz=1", "[source] has topic, start"),
        ("zzzzzzzz=1", "a key is section.name"),
        ("zzzzzzzz.a=1", "sections are [job], [kafka]"),
    ] {
        let problem = the_one_problem(&[set]);
        assert!(problem.contains(hint), "{set}: {problem}");
    }
    let (_file, sources) = file("interval = 1\n[checkpoints]\ninterval = 1\n");
    let all = problems(&sources);
    assert!(all[0].contains(":1: interval: a key outside of a section"), "{all:?}");
    assert!(all[1].contains(":2: [checkpoints]: unknown section; did you mean [checkpoint]?"), "{all:?}");
}

#[test]
fn a_file_that_is_absent_or_no_toml_is_told_with_its_place() {
    let sources = Sources { file: Some(PathBuf::from("no/such/file.toml")), ..Sources::default() };
    assert!(problems(&sources)[0].starts_with("no/such/file.toml: cannot be read: "));
    let (file, sources) = file("[job]\nname = \n");
    assert!(problems(&sources)[0].starts_with(&format!("{}:2: not TOML", file.path().display())), "{:?}", problems(&sources));
}

#[test]
fn properties_of_librdkafka_pass_through_and_those_that_exactly_once_rests_on_are_refused() {
    let (_file, mut sources) = file("[kafka.properties]\n\"linger.ms\" = 20\n\"security.protocol\" = \"SSL\"\n");
    sources.environment = vec![("SLUICEGATE__KAFKA__PROPERTIES__SASL_PASSWORD".into(), "hunter2".into())];
    sources.set = ["kafka.properties.enable.ssl.certificate.verification=false", "kafka.properties.\"batch.size\"=5000"]
        .map(Into::into)
        .into();
    let kafka = load(&sources).unwrap().kafka;
    let expected = [
        ("linger.ms", "20"),
        ("security.protocol", "SSL"),
        ("sasl.password", "hunter2"),
        ("enable.ssl.certificate.verification", "false"),
        ("batch.size", "5000"),
    ];
    assert_eq!(kafka.connection.properties, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert!(!format!("{kafka:?}").contains("hunter2"), "a secret is shown: {kafka:?}");

    for (property, reason) in [("transactional.id", "fenced"), ("isolation.level", "read_committed"), ("group.id", "kafka.group")]
    {
        let problem = the_one_problem(&[&format!("kafka.properties.{property}=x")]);
        assert!(problem.contains("is set by sluicegate") && problem.contains(reason), "{problem}");
    }
}

#[test]
fn a_transaction_must_outlive_its_checkpoint_and_the_error_names_all_parts() {
    let problem = the_one_problem(&["kafka.transaction_timeout=30s"]);
    for part in ["--set: kafka.transaction_timeout", "30s", "checkpoint.timeout (10min)", "= 603s"] {
        assert!(problem.contains(part), "{part} is not in {problem}");
    }
    let tight = ["kafka.transaction_timeout=8s", "checkpoint.timeout=5s", "checkpoint.interval=1s"];
    assert!(load(&with(&tight)).is_ok());
    let tighter = ["kafka.transaction_timeout=7999ms", "checkpoint.timeout=5s", "checkpoint.interval=1s"];
    assert!(the_one_problem(&tighter).contains("too short"));
    assert!(the_one_problem(&["kafka.transaction_timeout=16min"]).contains("1s to 15min"));
}

#[test]
fn an_order_must_be_known_for_as_long_as_copies_of_its_events_are_dropped() {
    let orders = |set: &[&str]| load(&with(set)).unwrap().orders;
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!((orders(&[]).deduplication_ttl, orders(&[]).tracking_ttl), (days(1), days(90)));
    let same = orders(&["orders.deduplication_ttl=3d", "orders.tracking_ttl=3d"]);
    assert_eq!((same.deduplication_ttl, same.tracking_ttl), (days(3), days(3)));
    // named where something was written, whichever of the two
    for (set, why) in [
        (vec!["orders.deduplication_ttl=3d", "orders.tracking_ttl=259199s"], "259199s is shorter than"),
        (vec!["orders.deduplication_ttl=91d"], "90d is shorter than orders.deduplication_ttl (91d)"),
        (vec!["orders.tracking_ttl=1h"], "allowed is 1d to 365d"),
        (vec!["orders.tracking_ttl=366d"], "allowed is 1s to 365d"),
        (vec!["orders.tracking_ttl=0s"], "allowed is 1s to 365d"),
    ] {
        let problem = the_one_problem(&set);
        assert!(problem.starts_with("--set: orders.tracking_ttl: ") && problem.contains(why), "{set:?}: {problem}");
    }
}

#[test]
fn folders_topics_and_sizes_that_do_not_fit_together_are_refused() {
    for (set, hint) in [
        (vec!["state.dir=/tmp/a", "checkpoint.storage=/tmp/a/b"], "side by side"),
        (vec!["state.dir=/tmp/a", "checkpoint.storage=file:///tmp/a"], "side by side"),
        (vec!["topics.order_status=orders"], "the one of source.topic as well"),
        (vec!["topics.late_orders=dead-letters"], "the one of topics.late_orders as well"),
        (vec!["source.max_record_bytes=2MiB"], "message.max.bytes\" = 1200000"),
        (vec!["source.min_timestamp=2200-01-01T00:00:00Z"], "not later than"),
        (vec!["topics.prefix=a b"], "'.', '_' and '-'"),
        (vec!["checkpoint.storage=hdfs://name/x"], "hdfs: is not known"),
        (vec!["checkpoint.storage=s3://localhost:9000/x"], "AWS_ENDPOINT_URL"),
        (vec!["job.parallelism=9", "job.max_parallelism=8"], "from 0 to 8"),
        (vec!["job.task_timeout=500ms"], "0s, or 1s to 1d"),
        (vec!["job.tasktimeout=1s"], "did you mean job.task_timeout?"),
        (vec!["log.level=loud"], "error, warn, info"),
        (vec!["http.listen=9464"], "host:port"),
        (vec!["source.start=yesterday"], "\"earliest\", \"latest\""),
        (vec!["source.start={ offsets = { 0 = -1 } }"], "whole numbers from 0"),
    ] {
        let problem = the_one_problem(&set);
        assert!(problem.contains(hint), "{set:?}: {problem}");
    }
    let settings = load(&with(&["source.max_record_bytes=1MiB", "kafka.properties.message.max.bytes=2000000"])).unwrap();
    assert_eq!(settings.source.max_record_bytes, 1 << 20);
    let settings = load(&with(&["topics.prefix=eu.", "topics.order_status=orders"])).unwrap();
    assert_eq!((settings.topics.order_status.as_str(), settings.topics.dead_letters.as_str()), ("eu.orders", "eu.dead-letters"));
}

#[test]
fn every_form_of_start_and_switch_is_read() {
    let start = |text: &str| load(&with(&[&format!("source.start={text}")])).unwrap().source.start;
    assert_eq!(start("latest"), Start::Latest);
    assert_eq!(start("{ timestamp = \"2026-01-01T00:00:00Z\" }"), Start::Timestamp(1_767_225_600_000));
    assert_eq!(start("{ timestamp = 17 }"), Start::Timestamp(17));
    assert_eq!(start("{ offsets = { 0 = 120, 11 = 80 } }"), Start::Offsets([(0, 120), (11, 80)].into()));
    assert_eq!(load(&with(&["job.task_timeout=0s"])).unwrap().job.task_timeout, None);
    let off = load(&with(&["http.listen=off", "source.idle_timeout=0s", "source.partition_discovery_interval=0s"])).unwrap();
    assert_eq!((off.http.listen, off.source.idle_timeout, off.source.partition_discovery_interval), (None, None, None));
    let storage = |text: &str| load(&with(&[&format!("checkpoint.storage={text}")])).unwrap().checkpoint.storage;
    assert_eq!(storage("/tmp/x y").as_folder(), Some(Path::new("/tmp/x y")));
    assert_eq!(storage("file:///tmp/x%20y"), storage("/tmp/x y"));
    assert!(storage("here").as_folder().unwrap().is_absolute());
}

#[test]
fn a_job_of_ones_own_has_its_name_and_none_of_the_settings_of_the_order_job() {
    let own = |set: &[&str]| Sources { own_job: Some("clicks".into()), ..with(set) };
    let settings = load(&own(&[])).unwrap();
    assert_eq!((settings.job.name.to_string(), settings.kafka.group), ("clicks".to_owned(), "sluicegate-clicks".to_owned()));
    assert_eq!(load(&own(&["job.name=other"])).unwrap().job.name.to_string(), "other");
    for key in ["job.kind=orders", "source.topic=x", "orders.batch_size=5", "topics.prefix=x"] {
        let problems = load(&own(&[key])).unwrap_err();
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(all.len() == 1 && all[0].contains("setting of the order job"), "{key}: {all:?}");
    }
}

#[test]
fn every_restart_strategy_is_read_and_what_does_not_fit_is_refused() {
    let restart = |set: &[&str]| load(&with(set)).unwrap().restart;
    let seconds = Duration::from_secs;
    let growing = |multiplier, jitter| Restart::ExponentialDelay {
        initial_delay: seconds(1),
        max_delay: seconds(60),
        multiplier,
        reset_threshold: seconds(3600),
        jitter,
    };
    // with Flink's defaults
    assert_eq!(restart(&["restart.strategy=exponential-delay"]), growing(1.5, 0.1));
    let (_file, sources) = file("[restart]\nstrategy = \"exponential-delay\"\nmultiplier = 2\njitter = 0.25\n");
    assert_eq!(load(&sources).unwrap().restart, growing(2.0, 0.25));
    let rate = ["restart.strategy=failure-rate", "restart.max_failures=3", "restart.delay=1s"];
    assert_eq!(restart(&rate), Restart::FailureRate { failures: 3, interval: seconds(60), delay: seconds(1) });
    assert_eq!(restart(&["restart.strategy=none"]), Restart::None);
    for (set, words) in [
        ("restart.multiplier=0.5", "a number from 1 to 100"),
        ("restart.jitter=2", "a number from 0 to 1"),
        ("restart.jitter=NaN", "a number from 0 to 1"),
        ("restart.max_delay=10ms", "shorter than restart.initial_delay"),
        ("restart.max_failures=0", "from 1 to"),
    ] {
        let problem = the_one_problem(&[set]);
        assert!(problem.contains(words), "{set}: {problem}");
    }
}

#[test]
fn a_shorter_interval_takes_more_producers() {
    let producers = |interval: &str| load(&with(&[&format!("checkpoint.interval={interval}")])).unwrap().kafka.producers;
    assert_eq!([producers("5s"), producers("1s"), producers("100ms"), producers("50ms"), producers("10ms")], [3, 3, 7, 12, 16]);
    assert_eq!(load(&with(&["kafka.producers=4"])).unwrap().kafka.producers, 4);
}

/// The settings as `docs/configuration.md` must list them.
#[test]
fn the_documentation_lists_every_setting_with_its_default() {
    let documented: Vec<&str> =
        include_str!("../../docs/configuration.md").lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = KEYS
        .iter()
        .map(|key| {
            let default = if key.default.is_empty() { "(empty)".to_owned() } else { format!("`{}`", key.default) };
            format!("| `{}` | {default} | {} | {} |", key.name, key.allowed, key.about)
        })
        .collect();
    for line in &expected {
        assert!(documented.contains(&line.as_str()), "docs/configuration.md lacks the line\n{line}");
    }
    assert_eq!(documented, expected, "docs/configuration.md has lines that are not settings, or in another order");
}

#[test]
fn the_example_shows_every_setting_and_means_the_defaults() {
    // given the example as it is, and with every commented setting in force (but the group, whose default depends on the name,
    // and properties, which have no defaults)
    let text = include_str!("../../config/orders.toml");
    let mut shown = Vec::new();
    let mut section = String::new();
    let mut in_force = String::new();
    for line in text.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        }
        let is_setting = bare.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        if let (true, Some((key, _))) = (is_setting, bare.split_once(" = ")) {
            shown.push(format!("{section}.{key}"));
        }
        let kept = if is_setting && !bare.starts_with("group") { bare } else { line };
        in_force.push_str(kept);
        in_force.push('\n');
    }
    // then both mean what the defaults mean, and no setting is missing
    let defaults = load(&Sources::default()).unwrap();
    for text in [text, in_force.as_str()] {
        let (_file, sources) = file(text);
        assert_eq!(load(&sources).unwrap(), defaults);
    }
    assert_eq!(shown, KEYS.iter().map(|key| key.name).collect::<Vec<_>>());
}

#[test]
fn a_topic_in_framed_avro_needs_a_registry_and_its_password_is_shown_nowhere() {
    assert_eq!(
        the_one_problem(&["format.order_status=avro"]),
        "--set: format.order_status: \"avro\": the schemas are in a registry, so registry.url has to be set; or take \"avro-single-object\""
    );
    assert!(the_one_problem(&["format.orders=avro-object"]).contains("\"avro-single-object\""));
    assert!(the_one_problem(&["format.order=avro"]).contains("did you mean format.orders?"));
    assert!(the_one_problem(&["registry.url=localhost:8081"]).contains("http://localhost:8081"));
    assert!(the_one_problem(&["registry.password=word"]).contains("is set without registry.username"));
    assert!(the_one_problem(&["registry.ca_certificate=/no/such.pem"]).contains("there is none"));
    let settings = load(&with(&[
        "format.orders=avro",
        "registry.url=http://localhost:8081/apis/ccompat/v7",
        "registry.username=orders",
        "registry.password=hidden",
        "registry.subject_strategy=record-name",
        "registry.auto_register=false",
    ]));
    let registry = settings.unwrap().registry.unwrap();
    let shown = format!("{registry:?}");
    assert!(
        !registry.register && shown.contains("RecordName") && shown.contains("orders") && !shown.contains("hidden"),
        "{shown}"
    );
}
