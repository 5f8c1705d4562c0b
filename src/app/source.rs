//! Where a scenario comes from, and what its files say now.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity, Sources};
use crate::document::Entry;
use crate::plan::{self, Plan, Safety};
use crate::scenario::{self, LARGEST_FILE, MOST_FILES, Override, SafetySpec, Scenario};

/// Where a scenario comes from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Files, and directories that stand for their `*.toml` in order of name.
    pub paths: Vec<PathBuf>,
    /// A text that is in no file (it ships with the program, or was put by the API), before all
    /// files: its name and what it says.
    pub built_in: Option<(String, String)>,
    /// `--set` texts, put over the files.
    pub sets: Vec<String>,
}

/// What a source's files said when they were read, right or wrong.
#[derive(Debug, Clone)]
pub struct Texts {
    /// Names, as the user gave them, and texts.
    pub(super) files: Vec<(String, String)>,
    /// Of files that could not be read.
    pub(super) notes: Diagnostics,
    sets: Vec<String>,
    fingerprint: Fingerprint,
}

/// Tells one content from another without parsing: equal for the same names, bytes and reasons why
/// something could not be read.
///
/// Two runs of the standard library's SipHash, 128 bits together. It is compared within one process
/// only and guards nothing, so neither a hash that is the same everywhere nor one that withstands
/// an attacker is worth a dependency: whoever could forge a collision writes the scenario anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u64; 2]);

impl Source {
    /// Reads every file once. Blocks on the file system. What cannot be read is a mistake like any
    /// other, and what can be read beside it is there.
    pub fn read(&self) -> Texts {
        let mut files: Vec<(String, String)> = self.built_in.iter().cloned().collect();
        let mut notes = Diagnostics::new();
        let mut hashers = [0_u8, 1].map(|which| {
            let mut hasher = DefaultHasher::new();
            which.hash(&mut hasher);
            self.built_in.hash(&mut hasher);
            hasher
        });
        let mut seen = HashSet::new();
        // `first.toml drills/` puts one file of a directory before the others.
        let listed = self.listed().filter(|listed| {
            let real = listed.as_ref().ok().and_then(|path| path.canonicalize().ok());
            real.is_none_or(|real| seen.insert(real))
        });
        for (count, listed) in listed.enumerate() {
            let full = count == MOST_FILES;
            let (path, bytes) = match listed {
                Ok(path) if full => (path, Err(format!("more than {MOST_FILES} files"))),
                Ok(path) => {
                    let bytes = bytes(&path);
                    (path, bytes)
                }
                Err((path, why)) => (path, Err(why)),
            };
            let name = path.display().to_string();
            for hasher in &mut hashers {
                (&name, &bytes).hash(hasher);
            }
            match bytes.and_then(said) {
                Ok(text) => files.push((name, text)),
                Err(why) => notes.push(Diagnostic::nowhere(format!("{name}: {why}"))),
            }
            if full {
                break;
            }
        }
        let fingerprint = Fingerprint(hashers.map(|hasher| hasher.finish()));
        Texts { files, notes, sets: self.sets.clone(), fingerprint }
    }

    /// Every file of every path; for a path that cannot be looked into, why.
    pub(super) fn listed(&self) -> impl Iterator<Item = Result<PathBuf, (PathBuf, String)>> {
        self.paths.iter().flat_map(|path| match files(path) {
            Ok(files) => files.into_iter().map(Ok).collect(),
            Err(why) => vec![Err((path.clone(), why))],
        })
    }
}

impl Texts {
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The tree of it all, `--set` included, whatever is wrong with it.
    pub(super) fn tree(&self) -> Vec<Entry> {
        scenario::read_adjusted(self.files.clone(), &self.sets, &[], &environment).0.tree
    }

    /// Parses and compiles, with live overrides put over it all; every mistake, whichever stage
    /// found it, in order of place. There is a plan only where none of them is an error. `start`:
    /// what was read then and holds until the end.
    pub fn compile(&self, overrides: &[Override], start: Option<&Start>) -> Compiled {
        let mut notes = self.notes.clone();
        let (mut scenario, found) =
            scenario::read_adjusted(self.files.clone(), &self.sets, overrides, &environment);
        notes.extend(found);
        let readable = notes.iter().all(|note| note.severity != Severity::Error);
        let (mut plan, mut more) = plan::compile(&scenario);
        let mut written_safety = None;
        if let (Some(read), Some(start)) = (&plan, start)
            && read.safety != start.compiled
        {
            // Its mistakes, if it makes any now, are shown where it stood at the start.
            written_safety = Some(read.safety.clone());
            let files = u16::try_from(scenario.sources.files.len()).unwrap_or(u16::MAX);
            scenario.safety = start.safety.clone();
            scenario.safety.moved(files);
            scenario.sources.append(&start.sources);
            (plan, more) = plan::compile(&scenario);
        }
        // What the reader has complained of already is often missing for the compiler.
        more.retain(|note| match note.at {
            _ if scenario.torn => false,
            Some(at) => !notes.iter().any(|known| known.at.is_some_and(|known| at.holds(known))),
            None => readable,
        });
        notes.extend(more);
        notes.sort_by_key(|note| note.at);
        notes.dedup();
        let mut plan = plan.filter(|_| readable);
        if let (Some(plan), Some(written)) = (&mut plan, written_safety) {
            plan.safety = written;
        }
        Compiled { plan, notes, scenario }
    }
}

/// What came of compiling.
#[derive(Debug)]
pub struct Compiled {
    /// Its `safety` is as written, also where that of the start held for the compiling.
    pub plan: Option<Plan>,
    pub notes: Diagnostics,
    pub scenario: Scenario,
}

/// What is read at the start only: `[safety]`, where it stood, and the services' own ports.
#[derive(Debug, Clone)]
pub struct Start {
    safety: SafetySpec,
    compiled: Safety,
    sources: Sources,
    /// Services that have ports of their own, by name.
    pub(super) ports: Vec<(Arc<str>, SocketAddr)>,
}

impl Start {
    /// Of a scenario and the plan made of it.
    pub fn of(scenario: &Scenario, plan: &Plan) -> Self {
        let mut sources = scenario.sources.clone();
        for source in &mut sources.files {
            let name = format!("{} (at the start)", source.name);
            *source = Arc::new(crate::diagnostic::Source { name, text: source.text.clone() });
        }
        let own = |service: &plan::Service| Some((Arc::clone(&service.name), service.listen?));
        let ports = plan.services.iter().filter_map(own).collect();
        let (safety, compiled) = (scenario.safety.clone(), plan.safety.clone());
        Self { safety, compiled, sources, ports }
    }
}

fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !fs::metadata(path).map_err(reason)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(reason)? {
        let file = entry.map_err(reason)?.path();
        // As a shell reads `*.toml`: editors keep their locks (`.#drill.toml`) next to the file.
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension == "toml") {
            if files.len() == MOST_FILES {
                return Err(format!("more than {MOST_FILES} files"));
            }
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err("this directory has no .toml file".to_owned());
    }
    files.sort();
    Ok(files)
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let file = crate::os::open_regular(path).map_err(reason)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(reason)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err("larger than 1 MiB".to_owned());
    }
    Ok(bytes)
}

fn said(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.is_empty() {
        // What a file is between being emptied and being written: a scenario that says nothing
        // says at least a comment.
        return Err("the file is empty".to_owned());
    }
    String::from_utf8(bytes)
        .map_err(|why| format!("not UTF-8 (at byte {})", why.utf8_error().valid_up_to()))
}

fn reason(why: io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::app::watch_tests::Scratch;

    fn source(scratch: &Scratch, names: &[&str]) -> Source {
        let paths = names.iter().map(|name| scratch.path(name)).collect();
        Source { paths, ..Source::default() }
    }

    fn complaint(source: &Source) -> String {
        let texts = source.read();
        assert_eq!(texts.notes.len(), 1, "{:?}", texts.notes);
        let (name, why) = texts.notes[0].message.rsplit_once(": ").unwrap();
        assert!(Path::new(name).is_absolute());
        why.to_owned()
    }

    #[test]
    fn a_directory_stands_for_its_files_in_order_of_name() {
        let scratch = Scratch::new();
        for name in ["b.toml", "a.toml", "notes.md", ".#a.toml", "last"] {
            scratch.write(name, name);
        }
        for (names, order) in [
            (["last", ""], ["last", "a.toml", "b.toml"]),
            // What is given twice is read where it comes first.
            (["b.toml", ""], ["b.toml", "a.toml", ""]),
            (["", "./b.toml"], ["a.toml", "b.toml", ""]),
        ] {
            let texts = source(&scratch, &names).read();
            let read = texts.files.iter().map(|(_, text)| text.as_str());
            assert!(read.eq(order.into_iter().filter(|name| !name.is_empty())), "{names:?}");
            assert!(texts.notes.is_empty());
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_and_never_waited_for() {
        let scratch = Scratch::new();
        scratch.write("large.toml", &"#".repeat((1 << 20) + 1));
        fs::write(scratch.path("latin.toml"), b"# caf\xe9").unwrap();
        fs::create_dir(scratch.path("empty")).unwrap();
        symlink("loop.toml", scratch.path("loop.toml")).unwrap();
        let pipe = scratch.path("pipe.toml");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for (name, why) in [
            ("missing.toml", "no such file"),
            ("large.toml", "larger than 1 MiB"),
            ("latin.toml", "not UTF-8 (at byte 5)"),
            ("empty", "this directory has no .toml file"),
            ("pipe.toml", "not a regular file"),
            ("/dev/zero", "not a regular file"),
            ("loop.toml", &io::Error::from(rustix::io::Errno::LOOP).to_string()),
        ] {
            assert_eq!(complaint(&source(&scratch, &[name])), why, "{name}");
        }
        // What stands beside it is read.
        scratch.write("good.toml", "# nothing\n");
        let texts = source(&scratch, &["missing.toml", "good.toml"]).read();
        assert_eq!((texts.files.len(), texts.notes.len()), (1, 1));
        let Compiled { plan, notes, .. } = texts.compile(&[], None);
        assert!(plan.is_none() && notes[0].message.ends_with("no such file"));
    }

    #[test]
    fn there_is_an_end_to_the_files() {
        let scratch = Scratch::new();
        for number in 0..=MOST_FILES {
            scratch.write(&format!("{number}.toml"), "#");
        }
        assert_eq!(complaint(&source(&scratch, &[""])), "more than 1000 files");
        let names: Vec<String> = (0..=MOST_FILES).map(|number| format!("{number}.toml")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let one_by_one = source(&scratch, &names);
        assert_eq!(complaint(&one_by_one), "more than 1000 files");
        assert_eq!(one_by_one.read().files.len(), MOST_FILES);
    }

    #[test]
    fn a_fingerprint_is_of_names_bytes_and_complaints() {
        let scratch = Scratch::new();
        let both = source(&scratch, &["a", "b"]);
        let mut seen = Vec::new();
        let mut another = |what: &str| {
            let now = both.read().fingerprint();
            assert!(!seen.contains(&now), "{what} is known already");
            assert_eq!(now, both.read().fingerprint());
            seen.push(now);
        };
        another("nothing there");
        scratch.write("a", "xy");
        another("one file");
        scratch.write("b", "");
        another("an empty file");
        scratch.write("a", "x");
        scratch.write("b", "y");
        another("the same bytes, divided otherwise");
        fs::write(scratch.path("b"), b"\xff").unwrap();
        another("not UTF-8");
        fs::write(scratch.path("b"), b"\xff\xff").unwrap();
        another("more that is not UTF-8");
        scratch.write("c", "x");
        let renamed = source(&scratch, &["c"]).read().fingerprint();
        assert_ne!(renamed, source(&scratch, &["a"]).read().fingerprint());
    }
}
