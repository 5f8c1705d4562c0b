//! Everything that depends on the operating system. Linux is complete; other Unixes build and run
//! with tokio's millisecond timer and a polled look at whether the caller has left.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use tokio::net::TcpStream;

pub use alarm::Alarm;

/// Raises the soft limit on open files to the hard one and returns it; `None`: unlimited or
/// unknown. Many shells start with 1,024, which is 500 proxied connections.
pub fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current }
}

/// Keeps what has not been sent yet out of the kernel's memory, but for this much: a socket takes no
/// more until its peer does. The kernel would hold megabytes for every caller that reads slowly, and
/// end connections, anybody's, when all together reach its limit. What is under way is not touched.
#[cfg(target_os = "linux")]
pub fn hold_little_unsent(stream: &TcpStream) {
    const UNSENT: u32 = 128 * 1024;
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}

/// Elsewhere the kernel's own limits have to do.
#[cfg(not(target_os = "linux"))]
pub fn hold_little_unsent(_: &TcpStream) {}

/// Waits until the peer has closed its side (FIN or RST), reading nothing: unread body and
/// pipelined requests stay where they are.
///
/// The kernel reports a half-closed peer (EPOLLRDHUP) with every wait, and tokio hands that to
/// whoever waits for `PRIORITY` too; waiting for `READABLE` would return at once, for ever, while
/// unread bytes lie in the socket.
#[cfg(target_os = "linux")]
pub async fn peer_closed(stream: &TcpStream) {
    use tokio::io::Interest;
    loop {
        match stream.ready(Interest::PRIORITY).await {
            Ok(ready) if ready.is_read_closed() => return,
            // Urgent data, which HTTP does not know: take the mark away and wait on.
            Ok(_) => {
                let _ = stream.try_io(Interest::PRIORITY, || {
                    Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock))
                });
            }
            Err(_) => return,
        }
    }
}

/// See the Linux form; here by a look four times a second.
#[cfg(not(target_os = "linux"))]
pub async fn peer_closed(stream: &TcpStream) {
    use tokio::io::Interest;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        match tokio::time::timeout(std::time::Duration::ZERO, stream.ready(Interest::READABLE))
            .await
        {
            Ok(Ok(ready)) if ready.is_read_closed() => return,
            Ok(Err(_)) => return,
            _ => {}
        }
    }
}

#[cfg(target_os = "linux")]
mod alarm {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    /// A one-shot alarm with the kernel's precision (timerfd), about thirty times finer than
    /// tokio's millisecond wheel; it never rings early.
    #[derive(Debug)]
    pub struct Alarm(AsyncFd<OwnedFd>);

    impl Alarm {
        /// Must be called inside a tokio runtime with IO enabled.
        #[expect(
            deprecated,
            reason = "the sound-by-type successor is an unsafe fn; an OwnedFd that never leaves \
                      this struct keeps its promise (its descriptor does not change)"
        )]
        pub fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            Ok(Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
        }

        /// Rings once after this long, in place of whatever was set before.
        pub fn set(&self, after: Duration) {
            // A zero value would switch the timer off.
            let after = after.max(Duration::from_nanos(1));
            let spec = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: i64::from(after.subsec_nanos()),
                },
            };
            // Fails only for arguments out of range, which the two lines above rule out.
            let _ = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec);
        }

        /// Waits until it rings.
        pub async fn ring(&self) {
            loop {
                let Ok(mut guard) = self.0.readable().await else { return };
                let mut expirations = [0u8; 8];
                match guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expirations)?)) {
                    Ok(_) => return,
                    Err(_would_block) => {}
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod alarm {
    use std::cell::Cell;
    use std::io;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::time::Instant;

    /// A one-shot alarm on tokio's wheel: millisecond grain, rounding up.
    #[derive(Debug)]
    pub struct Alarm {
        due: Cell<Option<Instant>>,
        changed: Notify,
    }

    impl Alarm {
        pub fn new() -> io::Result<Self> {
            Ok(Self { due: Cell::new(None), changed: Notify::new() })
        }

        pub fn set(&self, after: Duration) {
            self.due.set(Instant::now().checked_add(after));
            self.changed.notify_one();
        }

        pub async fn ring(&self) {
            loop {
                let Some(due) = self.due.get() else {
                    self.changed.notified().await;
                    continue;
                };
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {
                        self.due.set(None);
                        return;
                    }
                    () = self.changed.notified() => {}
                }
            }
        }
    }
}

/// `true` while a process with this id exists (it may belong to somebody else).
pub fn process_exists(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| {
        !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
    })
}

/// When a process started, in clock ticks since the machine did: with its number, this tells it from
/// every other that has had the number. `None`: it is gone, or the system does not tell.
#[cfg(target_os = "linux")]
pub fn process_started(pid: i32) -> Option<u64> {
    // proc_pid_stat(5): the 22nd field. The 2nd, a name in brackets, may hold anything.
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// See the Linux form.
#[cfg(not(target_os = "linux"))]
pub fn process_started(_pid: i32) -> Option<u64> {
    None
}

/// Sends SIGUSR1, which halts a running backburn.
pub fn signal_halt(pid: i32) -> io::Result<()> {
    let pid = rustix::process::Pid::from_raw(pid)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::USR1)?)
}

/// Opens a regular file for reading. Anything else is refused, and never waited for: to open a pipe
/// is to wait for its writer.
pub fn open_regular(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let regular = |about: fs::Metadata| {
        let refused = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        about.is_file().then_some(()).ok_or_else(refused)
    };
    // Asked before, since to open a device may be to start it; and after, since the name may mean
    // something else by then.
    regular(fs::metadata(path)?)?;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    regular(file.metadata()?)?;
    Ok(file)
}

/// What a process gets that was stopped (Ctrl-Z) and goes on.
pub const CONTINUED: i32 = rustix::process::Signal::CONT.as_raw();

/// Columns and rows of a terminal; `None`: it is none, or does not know.
pub fn terminal_size(of: impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(of).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// False for a job in the background of the terminal, whose screen is somebody else's meanwhile.
/// A terminal that controls no session (a container's) belongs to whoever writes to it.
pub fn in_foreground(of: impl AsFd) -> bool {
    rustix::termios::tcgetpgrp(of).map_or(true, |group| group == rustix::process::getpgrp())
}
