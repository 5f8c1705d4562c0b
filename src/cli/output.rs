//! Talking to people (stderr) and programs (stdout). A reader that goes away is a quiet end.

use std::io::{self, Write};

/// Data, for programs and pipes.
pub(super) fn data(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// One line for people.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Colour only on a terminal, and not where `NO_COLOR` asks for none.
pub(super) fn colour() -> bool {
    use std::io::IsTerminal;
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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
