//! The directories in which something decides what a scenario's paths stand for, watched for events.
//!
//! Directories, never files: a watch on a file is lost with the first save by rename and never hears
//! of a ConfigMap's swap. Events only wake whoever then reads the content, so none is told from
//! another by a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::Source;
use crate::os;

/// As many symbolic links as the kernel follows in one path.
const MOST_LINKS: u32 = 40;

/// The watches.
#[derive(Debug)]
pub(super) struct Directories {
    /// Or why there can be none.
    events: Result<RecommendedWatcher, String>,
    /// What each name stood for when it was armed.
    armed: BTreeMap<PathBuf, (u64, u64)>,
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
        Self { events, armed: BTreeMap::new() }
    }

    /// Never watches anything.
    pub(super) fn none(why: &str) -> Self {
        Self { events: Err(why.to_owned()), armed: BTreeMap::new() }
    }

    /// Watches what decides on the source's files now, and nothing else. Returns why something, or
    /// everything, cannot be watched. Blocks on the file system.
    pub(super) fn arm(&mut self, source: &Source) -> Option<String> {
        let events = match &mut self.events {
            Ok(events) => events,
            Err(why) => return Some(why.clone()),
        };
        let mut wanted = BTreeSet::new();
        for path in &source.paths {
            trail(path, &mut wanted);
        }
        for file in source.listed().flatten() {
            trail(&file, &mut wanted);
        }
        self.armed.retain(|directory, identity| {
            let stays = wanted.contains(directory)
                && os::identity(directory).is_ok_and(|now| now == *identity);
            if !stays {
                // A watch goes with its inode: with a directory that is gone it is gone already,
                // with one that was moved away it would go on reporting from there.
                let _ = events.unwatch(directory);
            }
            stays
        });
        let mut trouble = None;
        for directory in wanted {
            // Before the watch: what takes the name in between is another at the next look.
            let Ok(identity) = os::identity(&directory) else { continue };
            // Also where one is armed, which costs nothing: an inode can be given again to the
            // directory that follows, and its watch has ended with the one before.
            match events.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.armed.insert(directory, identity);
                }
                Err(mut why) => {
                    self.armed.remove(&directory);
                    // Or the path is said twice.
                    why.paths.clear();
                    trouble = Some(format!("cannot watch {}: {why}", directory.display()));
                }
            }
        }
        trouble
    }

    /// What is watched, in order of name.
    pub(super) fn armed(&self) -> Vec<PathBuf> {
        self.armed.keys().cloned().collect()
    }
}

/// Whether an event can be of a change. To be opened and read is none: the look that an event leads
/// to opens and reads. That events were lost is one, whatever else it says.
fn tells(event: &Event) -> bool {
    let harmless = match event.kind {
        EventKind::Access(access) => access != AccessKind::Close(AccessMode::Write),
        _ => false,
    };
    !harmless || event.need_rescan()
}

/// Every directory that has a say in what `path` stands for: where it lies, where each symbolic
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
    fn what_is_armed_follows_the_links() {
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
        let source = Source { paths: vec![at("mount")], sets: Vec::new() };
        let mut directories = Directories::new(Arc::default());
        assert_eq!(directories.arm(&source), None);
        assert_eq!(directories.armed(), [scratch.path(""), at("mount"), at("mount/..1")]);
        fs::remove_file(at("mount/..data")).unwrap();
        symlink("..2", at("mount/..data")).unwrap();
        assert_eq!(directories.arm(&source), None);
        assert_eq!(directories.armed(), [scratch.path(""), at("mount"), at("mount/..2")]);
        // One that has taken the name is another.
        let before = directories.armed[&at("mount")];
        fs::rename(at("mount"), at("old")).unwrap();
        fs::create_dir(at("mount")).unwrap();
        assert_eq!(directories.arm(&source), None);
        assert_eq!(directories.armed(), [scratch.path(""), at("mount")]);
        assert_ne!(directories.armed[&at("mount")], before);
    }
}
