//! The directory in which a server keeps what it knows. It holds everybody's messages, so what is made
//! here is for its owner's eyes alone, whatever the umask; what an operator made keeps its mode.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Makes the directory where it is not there, and what leads to it as the umask says.
pub fn make(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir)
}

/// An open file, made empty where it is not there, and never emptied.
pub(crate) fn file(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(path)
}
