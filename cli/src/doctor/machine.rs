//! What this machine has: the port for HTTP, space on its disks, memory.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{Error, ErrorKind, Result};
use indicatif::BinaryBytes;
use rustix::fs::{Access, access, statvfs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Finding, blocking, within};
use crate::config::Config;

/// Free space below which a disk is called short, and too short to go on, in bytes.
const SHORT_BYTES: u64 = 5 << 30;
const TOO_SHORT_BYTES: u64 = 500 << 20;

/// How long our own server may take to say that it holds the port.
const OWN_ANSWER_PATIENCE: Duration = Duration::from_secs(3);

/// Whether `serve` and `demo` could listen, or one of them does.
pub(super) async fn http(config: &Config) -> Finding {
    const CHECK: &str = "http";
    let listen = &config.http.listen;
    let fix = "choose another port: `--listen 127.0.0.1:PORT` of serve and demo, or http.listen (INTELLICARTEL__HTTP__LISTEN)";
    let error = match api::bind(listen).await {
        Ok(_) => return Finding::ok(CHECK, format!("http.listen {listen} is free")),
        Err(error) => error,
    };
    let Some(cause) = error.source() else { return Finding::failed(CHECK, error.to_string(), fix) };
    if within(OWN_ANSWER_PATIENCE, is_ours(listen)).await.unwrap_or(false) {
        return Finding::ok(CHECK, format!("an intellicartel answers on http.listen {listen} already"));
    }
    Finding::failed(CHECK, format!("http.listen {listen} cannot be had: {cause}"), fix)
}

/// Whether a server of ours answers.
async fn is_ours(address: &str) -> Result<bool> {
    let ask = async {
        let mut server = TcpStream::connect(address).await?;
        server.write_all(format!("GET /version HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        server.take(1 << 16).read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).contains("\"name\":\"intellicartel\""))
    };
    ask.await.map_err(|error| Error::new(ErrorKind::Unavailable, error.to_string()))
}

/// The disk of a lake in a folder.
pub(super) async fn lake_disk(config: &Config) -> Option<Finding> {
    const CHECK: &str = "lake disk";
    let root = config.lake.root.clone();
    if root.contains("://") {
        return None;
    }
    let free = blocking(move || free_bytes(&existing_ancestor(Path::new(&root))));
    let fix = "free some space, or choose another lake.root (INTELLICARTEL__LAKE__ROOT)";
    Some(disk(CHECK, &config.lake.root, free.await, fix))
}

/// The disk of the folder for what queries spill; the folder must let itself be written to.
pub(super) async fn temp_disk() -> Finding {
    const CHECK: &str = "temp disk";
    let folder = std::env::temp_dir();
    let asked = folder.clone();
    let free = blocking(move || {
        writable(&asked)?;
        free_bytes(&asked)
    });
    let fix = "free some space, or choose another folder by the variable TMPDIR";
    disk(CHECK, &folder.to_string_lossy(), free.await, fix)
}

fn disk(check: &str, folder: &str, free: Result<u64>, fix: &str) -> Finding {
    match free {
        Err(error) => Finding::failed(check, format!("{folder}: {error}"), fix),
        Ok(free) if free < TOO_SHORT_BYTES => Finding::failed(
            check,
            format!("{} free for {folder}, {} are needed", BinaryBytes(free), BinaryBytes(TOO_SHORT_BYTES)),
            fix,
        ),
        Ok(free) if free < SHORT_BYTES => Finding::warning(
            check,
            format!("{} free for {folder}, {} are advised", BinaryBytes(free), BinaryBytes(SHORT_BYTES)),
            fix,
        ),
        Ok(free) => Finding::ok(check, format!("{} free for {folder}", BinaryBytes(free))),
    }
}

/// Bytes that this user may still write.
fn free_bytes(folder: &Path) -> Result<u64> {
    let disk = statvfs(folder).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether files may be created in a folder.
pub(super) fn writable(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        return Err(Error::invalid("not a folder"));
    }
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| Error::invalid(format!("not writable: {error}")))
}

/// The folder itself, or the nearest one above it that is there.
pub(super) fn existing_ancestor(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// The memory that `ingest` takes beside the memory that there is.
pub(super) fn memory(config: &Config) -> Finding {
    const CHECK: &str = "memory";
    let cap = config.ingest.memory_cap_bytes as u64;
    let Some(machine) = machine_memory() else {
        return Finding::warning(CHECK, "/proc/meminfo does not say how much there is", "run on Linux");
    };
    let found = format!("ingest.memory_cap_bytes is {} of {}", BinaryBytes(cap), BinaryBytes(machine));
    let fix = "lower ingest.memory_cap_bytes (INTELLICARTEL__INGEST__MEMORY_CAP_BYTES), or give the machine more memory";
    match machine {
        machine if cap > machine => Finding::failed(CHECK, found, fix),
        machine if cap > machine / 2 => {
            Finding::warning(CHECK, found + ", which leaves little for the rest", fix)
        }
        _ => Finding::ok(CHECK, found),
    }
}

/// The machine's memory, or the container's where that is less, in bytes.
fn machine_memory() -> Option<u64> {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    })?;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    Some(limit.map_or(total, |limit: u64| limit.min(total)))
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn disks_are_judged_by_what_is_free() {
        for (free, status, words) in [
            (Ok(SHORT_BYTES), Status::Ok, "5.00 GiB"),
            (Ok(SHORT_BYTES - 1), Status::Warning, "advised"),
            (Ok(TOO_SHORT_BYTES - 1), Status::Failed, "500.00 MiB are needed"),
            (Err(Error::invalid("gone")), Status::Failed, "/x: gone"),
        ] {
            let finding = disk("disk", "/x", free, "free some space");
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.found.contains(words), "{finding:?}");
            assert_eq!(finding.fix.is_some(), status != Status::Ok, "{finding:?}");
        }
    }

    #[test]
    fn a_folder_to_come_is_looked_for_upwards() {
        assert_eq!(existing_ancestor(Path::new("/proc/no/such/folder")), Path::new("/proc"));
        assert!(writable(Path::new("/proc/meminfo")).is_err());
    }
}
