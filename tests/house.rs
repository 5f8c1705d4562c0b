//! The house's own rules: which room may use which, how long a file may be, no fault kind forgotten.

use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up: a room may use those before it.
const ROOMS: [&str; 20] = [
    "clock",
    "diagnostic",
    "dice",
    "units",
    "budget",
    "os",
    "document",
    "delay",
    "fault",
    "scenario",
    "plan",
    "exchange",
    "sli",
    "drill",
    "report",
    "requests",
    "proxy",
    "admin",
    "demo",
    "app",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The Rust files of a directory, by their names within it, and their texts.
fn all(directory: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut found = Vec::new();
    sources(&root, &mut found);
    let named = found.into_iter().map(|path| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    named.collect()
}

/// The rooms a line names, as `crate::ROOM`.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split("//").next().unwrap_or_default();
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn imports_point_down() {
    let mut breaches = Vec::new();
    let files = all("src");
    assert!(files.len() > 40, "only {} files", files.len());
    for (file, text) in files {
        let room = file.split(['/', '.']).next().unwrap();
        let Some(level) = ROOMS.iter().position(|known| *known == room) else {
            assert!(["lib", "main", "cli"].contains(&room), "{file} is in no room");
            continue;
        };
        // Tests may look further: they read scenarios to make faults.
        let tests = file.ends_with("tests.rs");
        let shipped = text.lines().take_while(|line| !tests && *line != "#[cfg(test)]");
        for (number, line) in shipped.enumerate() {
            for used in named(line) {
                if ROOMS.iter().position(|known| *known == used).is_none_or(|used| used > level) {
                    breaches.push(format!("{file}:{}: {room} may not use {used}", number + 1));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn one_idea_a_file() {
    for directory in ["src", "tests", "benches"] {
        for (file, text) in all(directory) {
            let lines = text.lines().count();
            assert!(lines <= 600, "{directory}/{file} has {lines} lines");
        }
    }
}

#[test]
fn no_fault_kind_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let scenarios: String = fs::read_dir(root.join("scenarios"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let list = fs::read_to_string(root.join("src/fault/mod.rs")).unwrap();
    let kinds: Vec<&str> =
        list.lines().filter_map(|line| line.trim().strip_suffix("::KIND,")).collect();
    assert!(kinds.len() >= 3);
    for kind in kinds {
        assert!(
            root.join(format!("src/fault/{kind}.rs")).exists(),
            "{kind} has no file of its own"
        );
        assert!(readme.contains(&format!("`{kind}`")), "README does not name `{kind}`");
        assert!(scenarios.contains(&format!("inject.{kind}")), "no scenario uses inject.{kind}");
    }
}
