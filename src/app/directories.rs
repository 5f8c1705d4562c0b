//! The directories in which something decides what a scenario's paths stand for, watched for events.
//!
//! Directories, never files: a watch on a file is lost with the first save by rename and never hears
//! of a ConfigMap's swap. Events only wake whoever then reads the content, so none is told from
//! another by a name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::Source;

/// As many symbolic links as the kernel follows in one path.
const MOST_LINKS: u32 = 40;

/// The watches.
#[derive(Debug)]
pub(super) struct Directories {
    /// Or why there can be none.
    events: Result<RecommendedWatcher, String>,
    watched: BTreeSet<PathBuf>,
}

impl Directories {
    /// Rings `bell` with each event in what will be armed.
    pub(super) fn new(bell: Arc<Notify>) -> Self {
        let wake = move |event: notify::Result<Event>| {
            // An error may stand for events that are lost.
            if event.map_or(true, |event| tells(&event)) {
                bell.notify_one();
            }
        };
        let events = notify::recommended_watcher(wake).map_err(|why| format!("no events: {why}"));
        Self { events, watched: BTreeSet::new() }
    }

    /// Never watches anything.
    pub(super) fn none(why: &str) -> Self {
        Self { events: Err(why.to_owned()), watched: BTreeSet::new() }
    }

    /// Watches what decides on the source's files now, and nothing else. Returns why something, or
    /// everything, cannot be watched. Blocks on the file system.
    ///
    /// An event that comes while it is at work may be lost: read the files afterwards.
    pub(super) fn arm(&mut self, source: &Source) -> Option<String> {
        let events = match &mut self.events {
            Ok(events) => events,
            Err(why) => return Some(why.clone()),
        };
        // All of them anew: a watch goes with the inode, not with the name, so it has ended with a
        // directory that was removed, and still reports from one that was moved away.
        for directory in std::mem::take(&mut self.watched) {
            // Nothing to undo where it has ended.
            let _ = events.unwatch(&directory);
        }
        let mut trouble = None;
        for directory in trails(source) {
            match events.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(directory);
                }
                // Gone since, which the next look sees.
                Err(why) if matches!(why.kind, ErrorKind::PathNotFound) => {}
                Err(mut why) => {
                    // Or the path is said twice.
                    why.paths.clear();
                    trouble = Some(format!("cannot watch {}: {why}", directory.display()));
                }
            }
        }
        trouble
    }

    /// What is watched, in order of name.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        self.watched.iter().cloned().collect()
    }
}

/// Whether an event can be of a change. To be opened and read is none: the look that an event leads
/// to opens and reads. That events were lost is one, whatever else it says.
fn tells(event: &Event) -> bool {
    event.need_rescan()
        || match event.kind {
            EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
            _ => true,
        }
}

/// Every directory that has a say in what the source's files are.
fn trails(source: &Source) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in &source.paths {
        trail(path, &mut found);
    }
    // Those in a directory may be links to elsewhere.
    for file in source.listed().flatten() {
        trail(&file, &mut found);
    }
    found
}

/// The directories that have a say in what `path` stands for: where it lies, where each symbolic
/// link on the way lies, itself if it is one. Where something is missing, the deepest that is there.
fn trail(path: &Path, found: &mut BTreeSet<PathBuf>) {
    // Only without a working directory; then no look finds anything either.
    let Ok(path) = std::path::absolute(path) else { return };
    let (mut real, mut links) = (PathBuf::new(), 0);
    follow(&path, &mut real, &mut links, found);
    if let Some(parent) = real.parent() {
        found.insert(parent.to_owned());
    }
    if real.is_dir() {
        found.insert(real);
    }
}

/// Goes on from `real`, which has no links in it; `false` where the way ends.
fn follow(path: &Path, real: &mut PathBuf, links: &mut u32, found: &mut BTreeSet<PathBuf>) -> bool {
    path.components().all(|part| match part {
        Component::CurDir => true,
        Component::ParentDir => {
            real.pop();
            true
        }
        Component::Prefix(_) | Component::RootDir => {
            real.push(part);
            true
        }
        Component::Normal(name) => {
            let next = real.join(name);
            match fs::symlink_metadata(&next) {
                Ok(about) if about.is_symlink() => {
                    found.insert(real.clone());
                    *links += 1;
                    *links <= MOST_LINKS
                        && fs::read_link(&next)
                            .is_ok_and(|target| follow(&target, real, links, found))
                }
                Ok(_) => {
                    *real = next;
                    true
                }
                Err(_) => false,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::app::watch_tests::Scratch;

    fn found(path: &Path) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        trail(path, &mut found);
        found.into_iter().collect()
    }

    #[test]
    fn every_directory_with_a_say_is_found() {
        let scratch = Scratch::new();
        let at = |name: &str| scratch.path(name);
        for directory in ["mount/..1", "elsewhere"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        fs::write(at("mount/..1/drill.toml"), "").unwrap();
        symlink("..1", at("mount/..data")).unwrap();
        symlink("..data/drill.toml", at("mount/drill.toml")).unwrap();
        symlink(at("mount/../mount/drill.toml"), at("elsewhere/drill.toml")).unwrap();

        let root = scratch.path("");
        assert_eq!(found(&at("mount/..1/drill.toml")), [at("mount/..1")]);
        assert_eq!(found(&at("mount/drill.toml")), [at("mount"), at("mount/..1")]);
        let all = [at("elsewhere"), at("mount"), at("mount/..1")];
        assert_eq!(found(&at("elsewhere/drill.toml")), all);
        // A directory: it, and where it lies.
        assert_eq!(found(&at("mount")), [root.as_path(), &at("mount")]);
        // Not there: the deepest that is.
        assert_eq!(found(&at("mount/deep/er/drill.toml")), [root.as_path(), &at("mount")]);
        symlink("loop", at("elsewhere/loop")).unwrap();
        assert_eq!(found(&at("elsewhere/loop")), [root.as_path(), &at("elsewhere")]);
    }

    #[test]
    fn what_is_watched_follows_the_links() {
        let scratch = Scratch::new();
        let at = |name: &str| scratch.path(name);
        fs::create_dir_all(at("mount/..1")).unwrap();
        fs::create_dir_all(at("mount/..2")).unwrap();
        for name in ["..1", "..2"] {
            fs::write(at("mount").join(name).join("drill.toml"), name).unwrap();
        }
        symlink("..1", at("mount/..data")).unwrap();
        symlink("..data/drill.toml", at("mount/drill.toml")).unwrap();
        // Given as a directory, the links of its entries count as well.
        let source = Source { paths: vec![at("mount")], ..Source::default() };
        let mut directories = Directories::new(Arc::default());
        assert_eq!(directories.arm(&source), None);
        assert_eq!(directories.watched(), [scratch.path(""), at("mount"), at("mount/..1")]);
        fs::remove_file(at("mount/..data")).unwrap();
        symlink("..2", at("mount/..data")).unwrap();
        assert_eq!(directories.arm(&source), None);
        assert_eq!(directories.watched(), [scratch.path(""), at("mount"), at("mount/..2")]);
    }

    /// Whether the kernel watches this directory for this process.
    #[cfg(target_os = "linux")]
    fn is_watched(directory: &Path) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let inode = format!("ino:{:x}", fs::metadata(directory).unwrap().ino());
        // Other tests' descriptors come and go.
        fs::read_dir("/proc/self/fdinfo").unwrap().any(|entry| {
            let about = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            let mut watches = about.lines().filter(|line| line.starts_with("inotify "));
            watches.any(|line| line.split(' ').any(|word| word == inode))
        })
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_has_moved_away_is_not_watched() {
        let scratch = Scratch::new();
        let (here, away) = (scratch.path("here"), scratch.path("away"));
        fs::create_dir(&here).unwrap();
        scratch.write("here/drill.toml", "");
        let source = Source { paths: vec![here.join("drill.toml")], ..Source::default() };
        let mut directories = Directories::new(Arc::default());
        assert_eq!(directories.arm(&source), None);
        assert!(is_watched(&here));
        fs::rename(&here, &away).unwrap();
        fs::create_dir(&here).unwrap();
        assert_eq!(directories.arm(&source), None);
        assert!(is_watched(&here) && !is_watched(&away));
        drop(directories);
    }

    #[test]
    fn reads_tell_nothing_and_lost_events_do() {
        use notify::event::{DataChange, Flag, ModifyKind};
        let tells = |kind| tells(&Event::new(kind));
        assert!(!tells(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!tells(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(tells(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(tells(EventKind::Modify(ModifyKind::Data(DataChange::Any))));
        let lost = Event::new(EventKind::Access(AccessKind::Any)).set_flag(Flag::Rescan);
        assert!(super::tells(&lost));
    }
}
