//! Other tools' rules and what is made of them: `import/FORMAT_NAME.{json,yaml}` beside the scenario
//! (`.toml`, where there is one) and what is said (`.err`). `BACKBURN_BLESS=1` writes what comes out
//! now; read the difference before committing it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{BACKBURN, Scratch};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// Exit code, what was printed, what was said.
fn backburn(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(BACKBURN);
    command.current_dir(directory()).args(arguments).env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who reads no stdin may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn rules_become_scenarios() {
    let (mut good, mut bad) = (0, 0);
    let entries = std::fs::read_dir(directory()).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "json" || it == "yaml"));
    paths.sort();
    for path in paths {
        let file = path.file_name().unwrap().to_str().unwrap();
        let format = if file.starts_with("envoy") { "envoy-fault" } else { "toxiproxy" };
        let (code, scenario, said) = backburn(&["import", format, file], "");
        let golden = |extension, is: &str| {
            let golden = path.with_extension(extension);
            if std::env::var_os("BACKBURN_BLESS").is_some() && !is.is_empty() {
                std::fs::write(&golden, is).unwrap();
            }
            let want = std::fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(is, want, "{file}");
        };
        golden("err", &said);
        golden("toml", &scenario);
        assert_eq!(code, Some(if scenario.is_empty() { 2 } else { 0 }), "{file}");
        if scenario.is_empty() {
            bad += 1;
            continue;
        }
        good += 1;
        let scratch = Scratch::new();
        let made = scratch.file("scenario.toml", &scenario);
        let (code, _, said) = backburn(&["check", made.to_str().unwrap()], "");
        assert_eq!(code, Some(0), "{file}: {said}");
    }
    assert!(good >= 6 && bad >= 6, "{good} good, {bad} bad");
}

/// From a pipe to a file, which is never one that is there.
#[test]
fn a_pipe_and_a_new_file() {
    let rules = r#"{"a": {"name": "a", "listen": ":0", "upstream": "127.0.0.1:9000"}}"#;
    let scratch = Scratch::new();
    let kept = scratch.file("kept.toml", "# mine");
    let new = kept.with_file_name("new.toml");
    let import =
        |to: &Path| backburn(&["import", "toxiproxy", "-", "-o", to.to_str().unwrap()], rules);
    let (code, printed, said) = import(&new);
    assert_eq!((code, printed.as_str()), (Some(0), ""), "{said}");
    assert!(std::fs::read_to_string(&new).unwrap().contains("[services.a]"));
    let (code, _, said) = import(&kept);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "# mine");
    let (code, _, said) = backburn(&["import", "toxiproxy", "absent.json"], "");
    assert!(code == Some(2) && said.contains("absent.json"), "{said}");
}
