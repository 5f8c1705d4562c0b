//! Talking to people (stderr) and programs (stdout). A reader that goes away is a quiet end.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::terminal;
use crate::plan::Plan;
use crate::report::{Canvas, words};

/// Data, for programs and pipes.
pub(super) fn data(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// A new file: never over something that is there.
pub(super) fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// One line for people, or several.
pub(crate) fn say(text: &str) {
    terminal::say(text);
}

/// How much there is in a scenario, `faults` of them being told of.
pub(super) fn sizes(plan: &Plan, faults: usize) -> String {
    let parts = [
        (plan.services.len(), "service"),
        // Each service brings one of its own, for what no other route takes.
        (plan.routes.len() - plan.services.len(), "route"),
        (faults, "fault"),
        (plan.slos.len(), "SLO"),
    ];
    parts.map(|(number, what)| words::count(number as u64, what)).join(", ")
}

/// What stdout or stderr is drawn on: 80 columns without an end where it is no terminal.
pub(super) fn canvas(of: &(impl AsFd + IsTerminal)) -> Canvas {
    let size = of.is_terminal().then(|| crate::os::terminal_size(of)).flatten();
    Canvas {
        columns: size.map_or(Canvas::PLAIN.columns, |(columns, _)| usize::from(columns)),
        rows: size.map(|(_, rows)| usize::from(rows)),
        colour: colour_on(of),
        unicode: speaks_utf8(["LC_ALL", "LC_CTYPE", "LANG"].map(std::env::var_os)),
    }
}

/// Colour on stderr.
pub(super) fn colour() -> bool {
    colour_on(&io::stderr())
}

/// Colour only on a terminal, and not where `NO_COLOR` asks for none.
fn colour_on(of: &impl IsTerminal) -> bool {
    of.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether the locale says so: of its variables, strongest first, the first that is set.
fn speaks_utf8(variables: [Option<OsString>; 3]) -> bool {
    let locale = variables.into_iter().flatten().find(|value| !value.is_empty());
    let locale = locale.and_then(|value| value.into_string().ok()).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// A runtime for a verb that needs one; `None` after saying why there is none.
pub(super) fn runtime() -> Option<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match built {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            say(&format!("cannot start: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales() {
        let speaks =
            |variables: [&str; 3]| speaks_utf8(variables.map(|value| Some(OsString::from(value))));
        assert!(speaks(["", "", "en_US.UTF-8"]));
        assert!(speaks(["C.utf8", "", "C"]));
        assert!(speaks(["", "de_DE.UTF-8@euro", ""]));
        assert!(!speaks(["C", "", "en_US.UTF-8"]));
        assert!(!speaks(["", "", "POSIX"]));
        assert!(!speaks_utf8([None, None, None]));
    }
}
