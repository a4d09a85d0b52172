//! What the README tells people to type exists.

use std::process::Command;

use crate::tree;

/// The commands of the README, without their comments.
fn commands(readme: &str) -> Vec<Vec<&str>> {
    let lines = readme.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.map(|line| line.split('#').next().unwrap().split_whitespace().collect()).collect()
}

/// The part of a command that our binary is given.
fn ours<'c>(command: &[&'c str]) -> Option<Vec<&'c str>> {
    match command {
        ["outrigger", rest @ ..] | ["cargo", "run", "--release", "--", rest @ ..] => Some(rest.to_vec()),
        _ => None,
    }
}

fn help(verbs: &[&str]) -> Option<String> {
    let shown = Command::new(env!("CARGO_BIN_EXE_outrigger")).args(verbs).arg("--help").output().unwrap();
    shown.status.success().then(|| String::from_utf8(shown.stdout).unwrap())
}

#[test]
fn every_command_and_flag_exists() {
    let readme = tree::read("README.md");
    let commands: Vec<Vec<&str>> = commands(&readme).iter().filter_map(|command| ours(command)).collect();
    assert!(commands.len() > 8, "the README shows only {} commands", commands.len());
    for command in commands {
        let orders =
            command.first() == Some(&"demo") && command.get(1).is_some_and(|word| !word.starts_with('-'));
        let help = help(&command[..if orders { 2 } else { 1 }]);
        let help = help.unwrap_or_else(|| panic!("README: `outrigger {}` does not exist", command.join(" ")));
        let flags = command.iter().filter(|word| word.starts_with('-'));
        for flag in flags {
            assert!(help.contains(flag), "README: `outrigger {}`: no {flag}", command.join(" "));
        }
    }
}

#[test]
fn every_file_it_names_exists() {
    let readme = tree::read("README.md");
    let words = readme.split(|letter: char| letter.is_whitespace() || "()`:,".contains(letter));
    let files = words.map(|word| word.trim_end_matches('.'));
    let files =
        files.filter(|word| word.starts_with("docs/") || word.starts_with("configs/") || *word == "./test");
    for file in files {
        assert!(tree::root().join(file).exists(), "README names {file}, which does not exist");
    }
}
