use super::*;
use clap::CommandFactory;

/// Every command without subcommands, with its whole name.
fn commands(of: &clap::Command, prefix: &str, found: &mut Vec<(String, clap::Command)>) {
    for command in of.get_subcommands() {
        let name = format!("{prefix} {}", command.get_name());
        if command.has_subcommands() {
            commands(command, &name, found);
        } else {
            found.push((name, command.clone()));
        }
    }
}

fn all_commands() -> Vec<(String, clap::Command)> {
    let mut found = Vec::new();
    commands(&Arguments::command(), "sluicegate", &mut found);
    found
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_shows_an_example_that_is_a_command() {
    for (name, mut command) in all_commands() {
        let help = command.render_long_help().to_string();
        let Some((_, example)) = help.split_once("Example:\n") else { panic!("{name} --help has no example:\n{help}") };
        let example = example.lines().next().unwrap().trim();
        assert!(example.starts_with(&name), "{name}: {example}");
        if let Err(error) = Arguments::try_parse_from(example.split_whitespace()) {
            panic!("the example of {name} is refused: {error}");
        }
    }
}

#[test]
fn the_documentation_has_every_command_with_every_option() {
    let documentation = include_str!("../../docs/commands.md");
    for (name, command) in all_commands() {
        let heading = format!("\n## `{name}`\n");
        let Some((_, section)) = documentation.split_once(&heading) else { panic!("docs/commands.md lacks {heading}") };
        let section = section.split("\n## ").next().unwrap();
        for argument in command.get_arguments().filter_map(clap::Arg::get_long) {
            if !["help", "version", "config", "set"].contains(&argument) {
                assert!(section.contains(&format!("`--{argument}")), "{name}: --{argument} is not in its section");
            }
        }
    }
}

#[test]
fn commands_that_look_inside_explain_themselves_with_their_exit_codes() {
    for (name, mut command) in all_commands() {
        let looks_inside = ["sluicegate checkpoint show", "sluicegate checkpoint verify", "sluicegate checkpoint diff"];
        if looks_inside.contains(&name.as_str()) || name.starts_with("sluicegate state ") {
            let help = command.render_long_help().to_string().to_lowercase();
            let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains("exit code") && words.contains("--json"), "{name}: {help}");
        }
    }
}

#[test]
fn what_is_written_of_a_command_is_shown_by_its_help() {
    let said = |name: &str| {
        let (_, mut command) = all_commands().into_iter().find(|(known, _)| known == name).unwrap();
        command.render_long_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (name, words) in [
        ("sluicegate run", "A second instance of the same job takes over"),
        ("sluicegate validate", "Nothing is changed"),
        ("sluicegate audit", "independently of the engine"),
        ("sluicegate topics create", "is left as it is"),
        ("sluicegate generate orders", "byte for byte"),
        ("sluicegate savepoint create", "nothing in it is shared"),
        ("sluicegate stop", "waits until it has ended"),
    ] {
        assert!(said(name).contains(words), "{name}: {}", said(name));
    }
}

#[test]
fn every_command_takes_settings_many_times() {
    for (name, command) in all_commands() {
        let given: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        assert!(given.contains(&"config") && given.contains(&"set"), "{name}: {given:?}");
    }
    let given = ["sluicegate", "validate", "--set", "job.name=a", "--offline", "--set", "job.name=b", "--config", "x.toml"];
    let Command::Validate(validate) = Arguments::try_parse_from(given).unwrap().command else { panic!("not validate") };
    let Given { config, set } = validate.given;
    assert_eq!(
        (config.as_deref(), set.as_slice()),
        (Some("x.toml".as_ref()), ["job.name=a".to_owned(), "job.name=b".to_owned()].as_slice())
    );
}
