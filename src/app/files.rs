//! What an instance leaves on disk for people and for `backburn halt` to find it by.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What the ready file and `run.json` say (contract: command line).
#[derive(Debug, Clone)]
pub struct Instance {
    pub proxy: String,
    pub services: Vec<(String, String)>,
    pub admin: String,
    pub drill: String,
    pub seed: u64,
    /// Absolute.
    pub data: Option<PathBuf>,
}

impl Instance {
    pub fn to_json(&self) -> Value {
        let services: serde_json::Map<String, Value> =
            self.services.iter().map(|(name, url)| (name.clone(), json!(url))).collect();
        json!({
            "proxy": self.proxy,
            "services": services,
            "admin": self.admin,
            "pid": std::process::id(),
            "drill": self.drill,
            "seed": self.seed,
            "dice_version": crate::dice::STREAM_VERSION,
            "data": self.data,
        })
    }
}

/// Writes a file whole or not at all: to a neighbour first, then by rename.
pub fn write_by_rename(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let write = || {
        let mut file = fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().inspect_err(|_| {
        // As much as can be done about it.
        let _ = fs::remove_file(&part);
    })
}

/// Takes away what an earlier process may have left under the name of a ready file: it says of that
/// one that it is ready.
pub fn not_ready(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the data directory (with a `.gitignore` of its own) and returns its absolute path.
pub fn open_data(data: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(data.join("drills"))?;
    let ignore = data.join(".gitignore");
    if !ignore.exists() {
        fs::write(ignore, "*\n")?;
    }
    data.canonicalize()
}

/// The `run.json` files of a running instance, removed when it ends.
#[derive(Debug)]
pub(super) struct RunFiles(Vec<PathBuf>);

impl RunFiles {
    pub(super) fn write(instance: &Instance) -> io::Result<Self> {
        let mut said = instance.to_json();
        // What a later process with the same number cannot say.
        let own = i32::try_from(std::process::id()).ok();
        said["process_started"] = json!(own.and_then(crate::os::process_started));
        let text = format!("{said:#}\n");
        let mut written = Self(Vec::new());
        if let Some(data) = &instance.data {
            let mut directory = data.join("drills").join(&instance.drill);
            // A second run of the same scenario within the minute, or what a killed one left.
            if fs::create_dir(&directory).is_err() {
                directory.set_file_name(format!("{}-{}", instance.drill, std::process::id()));
                fs::create_dir_all(&directory)?;
            }
            written.put(directory.join("run.json"), &text)?;
        }
        if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR") {
            let directory =
                Path::new(&runtime).join("backburn").join(std::process::id().to_string());
            // A second way to be found; an unwritable runtime directory is no reason not to run.
            if fs::create_dir_all(&directory).is_ok() {
                let _ = written.put(directory.join("run.json"), &text);
            }
        }
        Ok(written)
    }

    fn put(&mut self, path: PathBuf, text: &str) -> io::Result<()> {
        write_by_rename(&path, text.as_bytes())?;
        self.0.push(path);
        Ok(())
    }
}

impl Drop for RunFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // Whoever finds a stale file checks the process id and its start.
            let _ = fs::remove_file(path);
            // Only if it is empty: the runtime directory of this process.
            if let Some(directory) = path.parent() {
                let _ = fs::remove_dir(directory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let directory = std::env::temp_dir().join(format!("backburn-files-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("ready.json");
        write_by_rename(&path, b"one").unwrap();
        write_by_rename(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        // What cannot be put in its place is not left beside it.
        fs::create_dir_all(directory.join("taken/by-a-directory")).unwrap();
        assert!(write_by_rename(&directory.join("taken"), b"three").is_err());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
        fs::remove_dir_all(&directory).unwrap();
    }
}
