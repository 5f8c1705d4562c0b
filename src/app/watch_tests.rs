//! The watcher on a real file system and the real clock: every way in which files are replaced, by
//! events alone, by the look once a second alone, and by both.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};

use super::watch::{DEBOUNCE, News, PATIENCE, POLL, STILL, Settling};
use super::*;
use crate::clock;

/// A directory of its own, removed at the end.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("backburn-watch-{}-{number}", std::process::id());
        // Temporary directories lie behind a symbolic link on some systems.
        let path = std::env::temp_dir().canonicalize().unwrap().join(name);
        // Left by a process of this id that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A path in it; itself for "".
    pub(super) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.clone() } else { self.0.join(name) }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a watcher may go by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Events,
    Polls,
    Both,
}

/// A watcher at work on some of a scratch directory's paths; it has looked once.
struct Watch {
    scratch: Scratch,
    reports: mpsc::UnboundedReceiver<Texts>,
    sight: watch::Receiver<Sight>,
    by: By,
}

impl Watch {
    async fn start(scratch: Scratch, paths: &[&str], by: By) -> Self {
        let paths = paths.iter().map(|name| scratch.path(name)).collect();
        let source = Source { paths, ..Source::default() };
        let known = source.read().fingerprint();
        let mut watcher = match by {
            // No look that no event asks for.
            By::Events => Watcher::with(source, known, true, Duration::from_hours(1)),
            By::Polls => Watcher::with(source, known, false, POLL),
            By::Both => Watcher::new(source, known),
        };
        let (report, reports) = mpsc::unbounded_channel();
        let sight = watcher.sight();
        // Before the first look can be over: there may be no second.
        let begun = clock::now();
        // Ends with the test's runtime.
        tokio::spawn(async move { while report.send(watcher.changed().await).is_ok() {} });
        let mut watch = Self { scratch, reports, sight, by };
        watch.looked_since(begun).await;
        let sight = watch.sight.borrow().clone();
        assert_eq!(sight.poll_only.is_some(), by == By::Polls, "{sight:?}");
        assert_eq!(sight.directories.is_empty(), by == By::Polls, "{sight:?}");
        watch
    }

    /// Waits for a look that ended after `then`.
    async fn looked_since(&mut self, then: Instant) {
        let looked = self.sight.wait_for(|sight| sight.looked.is_some_and(|looked| looked > then));
        tokio::select! {
            seen = looked => drop(seen.unwrap()),
            () = machine_time(Duration::from_secs(10)) => panic!("no look in 10 s"),
        }
    }

    /// Changes something and waits for the report, which has to come within two seconds, and of
    /// nothing that was there on the way.
    async fn change(&mut self, change: impl FnOnce(&Scratch), want: &str) {
        let begun = clock::now();
        change(&self.scratch);
        let took = begun.elapsed();
        let before = self.reported(want).await;
        // What was there for less than the time between two looks cannot have been settled.
        assert!(before.is_empty() || took >= STILL, "{before:?} in {took:?}, before {want}");
    }

    /// Waits for a report; returns those before it.
    async fn reported(&mut self, want: &str) -> Vec<String> {
        let begun = clock::now();
        let mut before = Vec::new();
        let late = machine_time(Duration::from_secs(2));
        tokio::pin!(late);
        loop {
            let texts = tokio::select! {
                texts = self.reports.recv() => texts.unwrap(),
                () = &mut late => panic!("not within 2 s: {want}; but {before:?}"),
            };
            let said = said(&self.scratch, &texts);
            if said == want {
                // `cargo test -- --nocapture` shows it.
                eprintln!("{:?}: after {:3} ms: {want}", self.by, begun.elapsed().as_millis());
                return before;
            }
            before.push(said);
        }
    }
}

/// Some time as this machine goes: in steps that need the timer, another thread and the file
/// system, as a look does. Where all of these are late, so is this.
async fn machine_time(time: Duration) {
    const STEP: Duration = Duration::from_millis(20);
    for _ in 0..time.as_millis() / STEP.as_millis() {
        tokio::time::sleep(STEP).await;
        let _ = tokio::task::spawn_blocking(|| fs::metadata(std::env::temp_dir())).await;
    }
}

/// Names and texts, or what is wrong, on one line.
fn said(scratch: &Scratch, texts: &Texts) -> String {
    let files = texts.files.iter().map(|(name, text)| format!("{name}: {text}"));
    let notes = texts.notes.iter().map(|note| note.message.clone());
    let all: Vec<String> = files.chain(notes).collect();
    all.join(", ").replace(&format!("{}/", scratch.0.display()), "")
}

/// `at/drill.toml` says "one".
fn plain() -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("at")).unwrap();
    scratch.write("at/drill.toml", "one");
    scratch
}

/// As the kubelet mounts a ConfigMap: `mount/drill.toml` → `..data/drill.toml`, `..data` → the
/// version.
fn mounted() -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("mount")).unwrap();
    symlink("..data/drill.toml", scratch.path("mount/drill.toml")).unwrap();
    swap(&scratch, "one");
    scratch
}

/// As the kubelet brings a new version: a new directory, made current by one rename of a link, and
/// the old one removed.
fn swap(scratch: &Scratch, version: &str) {
    let mount = scratch.path("mount");
    let old = fs::read_link(mount.join("..data")).ok();
    let new = format!("..2026_{version}");
    fs::create_dir(mount.join(&new)).unwrap();
    fs::write(mount.join(&new).join("drill.toml"), version).unwrap();
    symlink(&new, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    if let Some(old) = old {
        fs::remove_dir_all(mount.join(old)).unwrap();
    }
}

macro_rules! cases {
    ($($case:ident)*) => {
        fn cases(by: By) -> Vec<(&'static str, Pin<Box<dyn Future<Output = ()> + Send>>)> {
            vec![$((stringify!($case), Box::pin($case(by)))),*]
        }
    };
}

// Every way in which files are replaced, each in a directory of its own.
cases! {
    written_in_place written_in_pieces written_behind_a_link renamed_over moved_to_a_backup
    config_map_swapped mounted_directory_swapped deleted_and_restored replaced_by_a_directory
    replaced_by_a_loop directory_of_the_file_replaced directory_given_replaced
    directory_made_anew files_come_and_go touched
}

/// The system gives a user only so many event queues (128 by default).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_seen_by_events_alone() {
    each(By::Events, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_seen_by_polls_alone() {
    each(By::Polls, Semaphore::MAX_PERMITS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_seen_by_both() {
    each(By::Both, 4).await;
}

async fn each(by: By, at_once: usize) {
    let room = Arc::new(Semaphore::new(at_once));
    let started = cases(by).into_iter().map(|(name, case)| {
        let room = Arc::clone(&room);
        let case = tokio::spawn(async move {
            let _permit = room.acquire().await;
            case.await;
        });
        (name, case)
    });
    let started: Vec<_> = started.collect();
    let mut failed = Vec::new();
    for (name, case) in started {
        if case.await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}, see above");
}

async fn written_in_place(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    watch.change(|at| at.write("at/drill.toml", "two"), "at/drill.toml: two").await;
    watch.change(|at| at.write("at/drill.toml", "#"), "at/drill.toml: #").await;
}

/// Half-written for half a second, and never still for as long as two looks are apart.
async fn written_in_pieces(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    let path = watch.scratch.path("at/drill.toml");
    let writer = tokio::spawn(async move {
        let begun = clock::now();
        let (mut before, mut longest) = (begun, Duration::ZERO);
        let mut file = fs::File::create(path).unwrap();
        for piece in 0..10 {
            tokio::time::sleep(STILL / 2).await;
            let now = clock::now();
            file.write_all(&[b'0' + piece]).unwrap();
            longest = longest.max(before.elapsed());
            before = now;
        }
        // How long one piece was the last, and all of it.
        (longest, begun.elapsed())
    });
    let before = watch.reported("at/drill.toml: 0123456789").await;
    let (longest, all) = writer.await.unwrap();
    let may = longest >= STILL || all >= PATIENCE;
    assert!(before.is_empty() || may, "{before:?}, the longest pause {longest:?} of {all:?}");
}

async fn written_behind_a_link(by: By) {
    let scratch = plain();
    fs::create_dir(scratch.path("links")).unwrap();
    symlink("../at/drill.toml", scratch.path("links/drill.toml")).unwrap();
    let mut watch = Watch::start(scratch, &["links"], by).await;
    watch.change(|at| at.write("at/drill.toml", "two"), "links/drill.toml: two").await;
}

async fn renamed_over(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    // Twice: a watch on the file would be lost after the first.
    for text in ["two", "three"] {
        let save = |at: &Scratch| {
            at.write("at/drill.toml.part", text);
            at.rename("at/drill.toml.part", "at/drill.toml");
        };
        watch.change(save, &format!("at/drill.toml: {text}")).await;
    }
}

async fn moved_to_a_backup(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    for text in ["two", "three"] {
        let save = |at: &Scratch| {
            at.rename("at/drill.toml", "at/drill.toml~");
            at.write("at/drill.toml", text);
            at.remove("at/drill.toml~");
        };
        watch.change(save, &format!("at/drill.toml: {text}")).await;
    }
}

async fn config_map_swapped(by: By) {
    swapped(by, "mount/drill.toml").await;
}

async fn mounted_directory_swapped(by: By) {
    swapped(by, "mount").await;
}

async fn swapped(by: By, path: &str) {
    let mut watch = Watch::start(mounted(), &[path], by).await;
    watch.change(|at| swap(at, "two"), "mount/drill.toml: two").await;
    watch.change(|at| swap(at, "three"), "mount/drill.toml: three").await;
    let twice = |at: &Scratch| {
        swap(at, "four");
        swap(at, "five");
    };
    watch.change(twice, "mount/drill.toml: five").await;
}

async fn deleted_and_restored(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    watch.change(|at| at.remove("at/drill.toml"), "at/drill.toml: no such file").await;
    watch.change(|at| at.write("at/drill.toml", "one"), "at/drill.toml: one").await;
}

async fn replaced_by_a_directory(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    let empty = |at: &Scratch| {
        at.remove("at/drill.toml");
        fs::create_dir(at.path("at/drill.toml")).unwrap();
    };
    watch.change(empty, "at/drill.toml: this directory has no .toml file").await;
    let fill = |at: &Scratch| at.write("at/drill.toml/part.toml", "two");
    watch.change(fill, "at/drill.toml/part.toml: two").await;
    let back = |at: &Scratch| {
        fs::remove_dir_all(at.path("at/drill.toml")).unwrap();
        at.write("at/drill.toml", "three");
    };
    watch.change(back, "at/drill.toml: three").await;
}

async fn replaced_by_a_loop(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    let tie = |at: &Scratch| {
        at.remove("at/drill.toml");
        symlink("other.toml", at.path("at/drill.toml")).unwrap();
        symlink("drill.toml", at.path("at/other.toml")).unwrap();
    };
    let why = std::io::Error::from(rustix::io::Errno::LOOP);
    watch.change(tie, &format!("at/drill.toml: {why}")).await;
    let untie = |at: &Scratch| {
        at.remove("at/other.toml");
        at.write("at/other.toml", "two");
    };
    watch.change(untie, "at/drill.toml: two").await;
}

async fn directory_of_the_file_replaced(by: By) {
    directory_replaced(by, "at/drill.toml").await;
}

async fn directory_given_replaced(by: By) {
    directory_replaced(by, "at").await;
}

async fn directory_replaced(by: By, path: &str) {
    let mut watch = Watch::start(plain(), &[path], by).await;
    let replace = |at: &Scratch| {
        fs::create_dir(at.path("new")).unwrap();
        at.write("new/drill.toml", "two");
        at.rename("at", "old");
        at.rename("new", "at");
    };
    watch.change(replace, "at/drill.toml: two").await;
    // What counts is the directory that has the name now.
    watch.change(|at| at.write("at/drill.toml", "three"), "at/drill.toml: three").await;
    watch.change(|at| at.rename("at", "older"), &format!("{path}: no such file")).await;
    watch.change(|at| at.rename("old", "at"), "at/drill.toml: one").await;
    watch.change(|at| at.write("at/drill.toml", "four"), "at/drill.toml: four").await;
}

/// Where the new directory may be given the old one's inode.
async fn directory_made_anew(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    for text in ["two", "three"] {
        let make = |at: &Scratch| {
            fs::remove_dir_all(at.path("at")).unwrap();
            fs::create_dir(at.path("at")).unwrap();
            at.write("at/drill.toml", "#");
        };
        watch.change(make, "at/drill.toml: #").await;
        let fill = |at: &Scratch| at.write("at/drill.toml", text);
        watch.change(fill, &format!("at/drill.toml: {text}")).await;
    }
}

async fn files_come_and_go(by: By) {
    let mut watch = Watch::start(plain(), &["at"], by).await;
    let both = "at/a.toml: two, at/drill.toml: one";
    watch.change(|at| at.write("at/a.toml", "two"), both).await;
    watch.change(|at| at.remove("at/drill.toml"), "at/a.toml: two").await;
    let none = "at: this directory has no .toml file";
    watch.change(|at| at.rename("at/a.toml", "at/a.toml.off"), none).await;
    watch.change(|at| at.rename("at/a.toml.off", "at/a.toml"), "at/a.toml: two").await;
}

/// Looked at, and found to say what it said: not reported.
async fn touched(by: By) {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], by).await;
    let then = clock::now();
    let file = fs::File::options().append(true).open(watch.scratch.path("at/drill.toml")).unwrap();
    file.set_modified(clock::wall() + Duration::from_secs(7)).unwrap();
    watch.looked_since(then).await;
    let then = clock::now();
    watch.scratch.write("at/neighbour.toml", "one");
    watch.looked_since(then).await;
    // Had any of that been reported, it would come before this.
    watch.change(|at| at.write("at/drill.toml", "two"), "at/drill.toml: two").await;
}

/// No event reaches a file whose directory's directory is replaced: this is what polling is for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_further_up_is_replaced() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("top/at")).unwrap();
    scratch.write("top/at/drill.toml", "one");
    let mut watch = Watch::start(scratch, &["top/at/drill.toml"], By::Both).await;
    let replace = |at: &Scratch| {
        fs::create_dir_all(at.path("new/at")).unwrap();
        at.write("new/at/drill.toml", "two");
        at.rename("top", "old");
        at.rename("new", "top");
    };
    watch.change(replace, "top/at/drill.toml: two").await;
    let directories = [watch.scratch.path("top/at")];
    assert_eq!(watch.sight.borrow().directories, directories);
}

/// Reading wakes nobody, and a busy neighbour only so often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_are_few() {
    let mut watch = Watch::start(plain(), &["at/drill.toml"], By::Events).await;
    let first = watch.sight.borrow_and_update().looked;
    machine_time(5 * DEBOUNCE).await;
    assert_eq!(watch.sight.borrow().looked, first);

    let begun = clock::now();
    let looks = 4;
    in_time(async {
        for _ in 0..looks {
            while !watch.sight.has_changed().unwrap() {
                watch.scratch.write("at/neighbour.log", "busy");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            watch.sight.mark_unchanged();
        }
    })
    .await;
    assert!(begun.elapsed() >= looks * DEBOUNCE, "{looks} looks in {:?}", begun.elapsed());
}

/// A scratch directory's source, what it says, and a watcher that knows it.
fn alone(scratch: &Scratch, poll: Duration) -> (Source, Fingerprint, Watcher) {
    let source = Source { paths: vec![scratch.path("at")], ..Source::default() };
    let known = source.read().fingerprint();
    let watcher = Watcher::with(source.clone(), known, true, poll);
    (source, known, watcher)
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::select! {
        it = what => it,
        () = machine_time(Duration::from_secs(2)) => panic!("not within 2 s"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_before_the_first_look_is_found() {
    let scratch = plain();
    let (_, _, mut watcher) = alone(&scratch, POLL);
    scratch.write("at/drill.toml", "two");
    let texts = in_time(watcher.changed()).await;
    assert_eq!(said(&scratch, &texts), "at/drill.toml: two");
}

/// As in a `select!` whose other branches win again and again, also while a look is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_dropped_at_any_time() {
    let scratch = plain();
    let (_, _, mut watcher) = alone(&scratch, Duration::from_hours(1));
    for text in ["two", "three"] {
        scratch.write("at/drill.toml", text);
        let texts = in_time(async {
            loop {
                // Polled once.
                tokio::select! {
                    biased;
                    texts = watcher.changed() => break texts,
                    () = std::future::ready(()) => {}
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert_eq!(said(&scratch, &texts.await), format!("at/drill.toml: {text}"));
    }
    assert_eq!(watcher.sight().borrow().poll_only, None);
}

/// What a reload by hand has read is not reported, and what comes after it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_has_read_is_known() {
    let scratch = plain();
    let (source, one, mut watcher) = alone(&scratch, POLL);
    scratch.write("at/drill.toml", "two");
    watcher.know(source.read().fingerprint());
    // What it knew at first is news again.
    scratch.write("at/drill.toml", "one");
    assert_eq!(in_time(watcher.changed()).await.fingerprint(), one);
}

#[test]
fn what_is_seen_is_said() {
    let mut sight = Sight::default();
    assert_eq!(sight.to_string(), "nothing");
    sight.looked = Some(clock::now());
    sight.directories = vec!["/a".into(), "/b".into()];
    assert_eq!(sight.to_string(), "/a, /b");
    sight.poll_only = Some("no events".to_owned());
    assert_eq!(sight.to_string(), "/a, /b (looked at once a second: no events)");
    sight.directories.clear();
    assert_eq!(sight.to_string(), "looked at once a second: no events");
}

#[test]
fn a_content_settles_when_two_looks_agree_or_patience_ends() {
    let scratch = Scratch::new();
    let content = |text: &str| {
        scratch.write("it", text);
        Source { paths: vec![scratch.path("it")], ..Source::default() }.read().fingerprint()
    };
    let (one, two, three) = (content("1"), content("2"), content("3"));
    let start = clock::now();
    let mut settling = Settling { known: one, seen: None };
    let mut see = |content, millis| settling.see(content, start + Duration::from_millis(millis));
    assert_eq!(see(one, 0), News::None);
    // Back before it held still: nothing has happened.
    assert_eq!(see(two, 100), News::Unsettled);
    assert_eq!(see(one, 200), News::None);
    assert_eq!(see(two, 300), News::Unsettled);
    assert_eq!(see(three, 400), News::Unsettled);
    assert_eq!(see(three, 500), News::Settled);
    assert_eq!(see(three, 600), News::None);
    // Never still: as it is after a second, counted anew.
    for millis in (1_000..2_000).step_by(100) {
        assert_eq!(see(if millis % 200 == 0 { one } else { two }, millis), News::Unsettled);
    }
    assert_eq!(see(one, 2_000), News::Settled);
    assert_eq!(see(two, 2_100), News::Unsettled);
}
