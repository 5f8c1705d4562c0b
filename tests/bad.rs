//! Mistakes and what is said of them: `bad/NAME.toml`, or the directory `bad/NAME`, beside
//! `bad/NAME.err`; warnings in `warn`. `BACKBURN_BLESS=1` writes what is said now; read the
//! difference before committing it.

use std::path::Path;
use std::process::Command;

use crate::support::{BACKBURN, Scratch};

/// What `${…}` in these files finds; none of `SECRETS` may ever be said.
const ENVIRONMENT: [(&str, &str); 3] = [("TOKEN", "hunter2"), ("METHOD", "hunt"), ("WAIT", "300")];
const SECRETS: [&str; 2] = ["hunt", "300\""];

fn check(file: &str, more: &[&str]) -> (Option<i32>, String) {
    let (code, said, _) = run(file, more);
    (code, said)
}

/// Exit code, what was said, and what was printed.
fn run(file: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut command = Command::new(BACKBURN);
    let arguments = [&["check", file], more].concat();
    command.current_dir(tests).args(arguments).env("NO_COLOR", "1").envs(ENVIRONMENT);
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stderr), text(output.stdout))
}

/// Holds what is said of every file of a folder against its golden text.
fn golden(folder: &str, code: i32, at_least: usize) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".err"))
        .collect();
    names.sort();
    assert!(names.len() >= at_least, "only {} cases", names.len());
    for name in names {
        let (said_code, said) = check(&format!("{folder}/{name}"), &[]);
        assert_eq!(said_code, Some(code), "{name}: {said}");
        if code == 0 {
            let (strict, _) = check(&format!("{folder}/{name}"), &["--strict"]);
            assert_eq!(strict, Some(2), "{name}");
        }
        let golden = directory.join(format!("{}.err", name.trim_end_matches(".toml")));
        if std::env::var_os("BACKBURN_BLESS").is_some() {
            std::fs::write(&golden, &said).unwrap();
        }
        let want = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(said, want, "{name}");
    }
}

#[test]
fn every_mistake_is_explained() {
    golden("bad", 2, 80);
}

/// What cannot work as it is written is said, and fails where it is asked to (`--strict`).
#[test]
fn every_warning_is_explained() {
    golden("warn", 0, 8);
}

/// What names no service says how to name one, with a flag that these verbs have.
#[test]
fn a_service_for_files_that_name_none() {
    let scratch = Scratch::new();
    let file = scratch.file("faults.toml", "[faults.a]\nroutes = [\"*\"]\ninject.error = 503\n");
    let file = file.to_str().unwrap();
    let explain = ["explain", file, "--request", "GET /"];
    for verb in [&["check", file][..], &explain[..]] {
        let run = |more: &[&str]| Command::new(BACKBURN).args(verb).args(more).output().unwrap();
        let alone = run(&[]);
        let said = String::from_utf8_lossy(&alone.stderr);
        assert_eq!(alone.status.code(), Some(2), "{said}");
        assert!(said.contains("give `--upstream http://127.0.0.1:9000`"), "{said}");
        let given = run(&["--upstream", "http://127.0.0.1:9000"]);
        let said = String::from_utf8_lossy(&given.stderr);
        assert_eq!(given.status.code(), Some(0), "{said}");
    }
}

/// What the environment holds stays there, for people and for programs.
#[test]
fn no_secret_is_said() {
    for name in ["env_names", "env_password", "env_values"] {
        let (_, said, _) = run(&format!("bad/{name}.toml"), &[]);
        let (_, _, json) = run(&format!("bad/{name}.toml"), &["--json"]);
        assert!(said.contains("error: ") && json.contains("\"error\""), "{said}{json}");
        for secret in SECRETS {
            assert!(!said.contains(secret) && !json.contains(secret), "{said}{json}");
        }
    }
}

/// Seven different mistakes in one file are all shown, each caret on its token.
#[test]
fn seven_at_once() {
    let (_, said) = check("bad/seven.toml", &[]);
    assert!(said.contains("7 mistakes"), "{said}");
    let text = include_str!("bad/seven.toml");
    // Each offending token carries the comment `# <- TOKEN`.
    let tokens: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("# <- ").map(|(_, token)| token)).collect();
    assert_eq!(tokens.len(), 7);
    let lines: Vec<&str> = said.lines().collect();
    for token in tokens {
        let marked = lines.windows(2).any(|pair| {
            let (Some(caret), Some(end)) = (pair[1].find('^'), pair[1].rfind('^')) else {
                return false;
            };
            pair[0].get(caret..=end) == Some(token)
        });
        assert!(marked, "no caret under {token}:\n{said}");
    }
}

/// The shipped scenarios are right.
#[test]
fn the_shipped_scenarios_compile() {
    let mut seen = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")).unwrap()
    {
        let path = entry.unwrap().path();
        let (code, said) = check(path.to_str().unwrap(), &["--strict"]);
        assert_eq!(code, Some(0), "{said}");
        seen += 1;
    }
    assert!(seen >= 2);
}
