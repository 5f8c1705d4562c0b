//! argv → `backburn::cli` → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    backburn::cli::main()
}
