//! The binary as a process: run to its end within bounds, or left running and stopped by its process id.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a finished process said.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its data.
    pub stdout: String,
    /// Its progress, logs and errors.
    pub stderr: String,
}

impl Finished {
    /// Panics with all that was said unless the process ended well.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn expect_success(self) -> Self {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, self.stdout, self.stderr);
        self
    }

    /// Panics unless the process failed with every one of these words in its last words.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn expect_failure(self, words: &[&str]) -> Self {
        assert!(!self.status.success(), "it should have failed\n{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

/// A running process; dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    stdout: PathBuf,
}

impl Process {
    /// Starts a command whose output goes to files in `folder`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, folder: &std::path::Path) -> Self {
        let name = uuid::Uuid::new_v4().to_string();
        let (log, stdout) = (folder.join(format!("{name}.err")), folder.join(format!("{name}.out")));
        let file = |path: &PathBuf| std::fs::File::create(path).expect("a file for a process's output");
        let child = command.stdin(Stdio::null()).stdout(file(&stdout)).stderr(file(&log)).spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{command:?} cannot be started ({error}): build it first, `cargo build --workspace --all-targets`")
        });
        Self { child, log, stdout }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("a killed process ends");
    }

    /// Sends a signal, like `STOP`, `CONT` or `TERM`.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success(), "signal {name} was not sent");
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_none()
    }

    /// Its CPU time up to now, in ticks of the system.
    ///
    /// # Panics
    /// When the process is not there.
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("the process");
        // The name before the last parenthesis may hold anything; user and system time are the 12th and 13th fields behind it.
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("ticks")).sum()
    }

    /// What it has said on stderr up to now.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come in time; the process is killed then.
    #[must_use]
    pub fn finish(mut self, patience: Duration) -> Finished {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return Finished { status, stdout: read(&self.stdout), stderr: read(&self.log) };
            }
            if begun.elapsed() > patience {
                self.kill();
                panic!("the process did not end within {patience:?}: {}", read(&self.log));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
        }
    }
}

fn read(path: &PathBuf) -> String {
    let mut bytes = Vec::new();
    let mut file = std::fs::File::open(path).expect("the process's output is there");
    file.read_to_end(&mut bytes).expect("it can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
